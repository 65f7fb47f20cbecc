/**
 * Paths from the project's root, which all rules use.
 *
 * @module
 */

import { relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A file's path from the project's root, or `undefined` for a file outside of it. */
export function projectPath(filename: string): string | undefined {
  // Deno runs a test's rules on the name that the test made up, which has no root.
  const path = filename.startsWith("/") ? relative(ROOT, filename) : filename.replace(/^\.\//, "");
  return path.startsWith("..") ? undefined : path;
}
