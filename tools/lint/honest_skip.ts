/**
 * Lint rule: a test is skipped through tests/support/skip.ts, which wants a reason and fails in CI, or not at all.
 *
 * @module
 */

import { isException } from "../exceptions.ts";
import { projectPath } from "./project.ts";

/** No `Deno.test.ignore`, no `Deno.test.only`, no `ignore:` or `only:` in a test's options. */
export const honestSkip: Deno.lint.Rule = {
  create(context) {
    const path = projectPath(context.filename);
    if (path === undefined || isException(path, "honest-skip")) return {};
    const report = (node: Deno.lint.Node, what: string) =>
      context.report({ node, message: `Cannot use ${what} in ${path}: expected testWhen of tests/support/skip.ts` });
    return {
      MemberExpression(node) {
        const text = context.sourceCode.getText(node);
        if (text === "Deno.test.ignore" || text === "Deno.test.only") report(node, text);
      },
      CallExpression(node) {
        const callee = context.sourceCode.getText(node.callee);
        if (callee !== "Deno.test" && !/\.step$/.test(callee)) return;
        for (const argument of node.arguments) {
          if (argument.type !== "ObjectExpression") continue;
          for (const property of argument.properties) {
            if (property.type !== "Property") continue;
            const name = context.sourceCode.getText(property.key);
            if (name === "ignore" || name === "only") report(property, `the option ${name}`);
          }
        }
      },
    };
  },
};
