/**
 * Lint rules about what a file reaches for: import directions, and Deno's own doors.
 *
 * @module
 */

import { isException } from "../exceptions.ts";
import { projectPath } from "./project.ts";
import { forbidden, mayUseForeignFunctions, roomOf } from "./rooms.ts";

type Literal = { type: string; value?: unknown };

const POINTER_DOORS = ["dlopen", "UnsafePointer", "UnsafePointerView", "UnsafeFnPointer", "UnsafeCallback"];

/** Every import, export-from, dynamic import and module URL follows the table of rooms.ts. */
export const importDirection: Deno.lint.Rule = {
  create(context) {
    const from = projectPath(context.filename);
    if (from === undefined || isException(from, "import-direction")) return {};
    const check = (node: Deno.lint.Node, specifier: unknown, typeOnly: boolean) => {
      if (typeof specifier !== "string") return;
      const message = forbidden(from, { specifier, typeOnly });
      if (message !== undefined) context.report({ node, message });
    };
    return {
      ImportDeclaration: (node) => check(node, node.source.value, isTypeImport(node)),
      ExportNamedDeclaration: (node) => check(node, node.source?.value, isTypeExport(node)),
      ExportAllDeclaration: (node) => check(node, node.source.value, node.exportKind === "type"),
      ImportExpression: (node) => {
        const { value } = node.source as Literal;
        // A test may import a module whose name it made itself, such as a second copy.
        const message = `Cannot check an import of a computed name in ${from}: expected a string literal`;
        if (typeof value !== "string" && roomOf(from)?.kind !== "tests") context.report({ node, message });
        check(node, value, false);
      },
      // A Worker's module is an import as well.
      NewExpression(node) {
        if (context.sourceCode.getText(node.callee) !== "URL") return;
        const [first, base] = node.arguments;
        const value = (first as Literal | undefined)?.value;
        if (base === undefined || context.sourceCode.getText(base) !== "import.meta.url") return;
        if (typeof value === "string" && value.endsWith(".ts")) check(node, value, false);
      },
    };
  },
};

/** core/ is free of Deno, and only ffi/ opens libraries or handles pointers. */
export const ffiOnlyInFfi: Deno.lint.Rule = {
  create(context) {
    const path = projectPath(context.filename);
    if (path === undefined || isException(path, "ffi-only-in-ffi")) return {};
    if (roomOf(path)?.kind === "core") {
      return {
        Identifier(node) {
          if (node.name !== "Deno") return;
          context.report({ node, message: `Cannot use Deno in ${path}: expected core to be pure TypeScript` });
        },
      };
    }
    if (mayUseForeignFunctions(path)) return {};
    return {
      MemberExpression(node) {
        const text = context.sourceCode.getText(node);
        const door = POINTER_DOORS.find((name) => text === `Deno.${name}`);
        if (door === undefined) return;
        context.report({ node, message: `Cannot use Deno.${door} in ${path}: expected it only under ffi` });
      },
    };
  },
};

function isTypeImport(node: Deno.lint.ImportDeclaration): boolean {
  if (node.importKind === "type") return true;
  const named = node.specifiers.map((part) => part.type === "ImportSpecifier" && part.importKind === "type");
  return named.length > 0 && named.every(Boolean);
}

function isTypeExport(node: Deno.lint.ExportNamedDeclaration): boolean {
  if (node.exportKind === "type") return true;
  const named = node.specifiers.map((part) => (part as { exportKind?: string }).exportKind === "type");
  return named.length > 0 && named.every(Boolean);
}
