/**
 * Lint rules about size: a file and a function fit into a reader's head.
 *
 * @module
 */

import { isException } from "../exceptions.ts";
import { projectPath } from "./project.ts";

/** Lines of a source file. */
export const FILE_LINES_MAX = 350;

/** Lines of a test file: many small cases belong together. */
export const TEST_FILE_LINES_MAX = 600;

/** Lines of a function, with its signature and closing brace. */
export const FUNCTION_LINES_MAX = 60;

type FunctionNode = Deno.lint.FunctionDeclaration | Deno.lint.FunctionExpression | Deno.lint.ArrowFunctionExpression;

/** Files stay below the limit of their room. */
export const fileLength: Deno.lint.Rule = {
  create(context) {
    const path = projectPath(context.filename);
    if (path === undefined || isException(path, "file-length")) return {};
    const max = path.startsWith("tests/") ? TEST_FILE_LINES_MAX : FILE_LINES_MAX;
    return {
      Program(node) {
        const lines = lineCount(context.sourceCode.text.trimEnd());
        if (lines <= max) return;
        const start = node.range[0];
        context.report({
          range: [start, start + 1],
          message: `Cannot keep ${lines} lines in ${path}: expected at most ${max}`,
        });
      },
    };
  },
};

/** Functions stay below the limit; the body of a test, which only groups steps, is not counted. */
export const functionLength: Deno.lint.Rule = {
  create(context) {
    const path = projectPath(context.filename);
    if (path === undefined || isException(path, "function-length")) return {};
    const check = (node: FunctionNode) => {
      const lines = lineCount(context.sourceCode.getText(node));
      if (lines <= FUNCTION_LINES_MAX) return;
      if (path.startsWith("tests/") && isTestBody(context, node)) return;
      context.report({
        node,
        message: `Cannot keep ${lines} lines in one function: expected at most ${FUNCTION_LINES_MAX}`,
      });
    };
    return { FunctionDeclaration: check, FunctionExpression: check, ArrowFunctionExpression: check };
  },
};

function isTestBody(context: Deno.lint.RuleContext, node: FunctionNode): boolean {
  return context.sourceCode.getAncestors(node).some((above) =>
    above.type === "CallExpression" &&
    /^(Deno\.test|testWhen|test|(\w+\.)?step)\b/.test(context.sourceCode.getText(above.callee))
  );
}

function lineCount(text: string): number {
  return text.split("\n").length;
}
