/**
 * This project's own lint rules, run by `deno lint` with the built-in ones and shown by editors.
 *
 * @module
 */

import { ffiOnlyInFfi, importDirection } from "./lint/import_direction.ts";
import { honestSkip } from "./lint/honest_skip.ts";
import { fileLength, functionLength } from "./lint/sizes.ts";

/** The plug-in, by the shape that Deno's linter loads. */
const plugin: Deno.lint.Plugin = {
  name: "plugio",
  rules: {
    "import-direction": importDirection,
    "ffi-only-in-ffi": ffiOnlyInFfi,
    "file-length": fileLength,
    "function-length": functionLength,
    "honest-skip": honestSkip,
  },
};

export default plugin;
