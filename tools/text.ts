/**
 * Checks that no parser is needed for: words that must not appear, and the list of exceptions itself.
 *
 * `deno run tools/text.ts [ROOT]` prints one line per finding and exits 1 if there is any.
 *
 * @module
 */

import { join } from "node:path";
import { EXCEPTIONS } from "./exceptions.ts";
import { print } from "./say.ts";

/** One rule: a pattern that no line of the named files may hold. */
interface TextRule {
  readonly pattern: RegExp;
  readonly files: RegExp;
  readonly wanted: string;
}

const EVERYWHERE = /\.(ts|md|json|sh|yml)$|^\.ci\/run$/;

/** The patterns are put together from parts, so that this file does not hold what it forbids. */
const RULES: readonly TextRule[] = [
  {
    pattern: new RegExp("--allow-" + "all\\b"),
    files: EVERYWHERE,
    wanted: "a permission set of deno.json or single permissions",
  },
  {
    pattern: new RegExp("\\bdeno (run|test|bench|eval|x|install)\\b[^|&;,]*\\s-" + "A\\b"),
    files: EVERYWHERE,
    wanted: "a permission set of deno.json or single permissions",
  },
  {
    pattern: new RegExp("[\"'`]jsr" + ":"),
    files: /\.(ts|json|md)$/,
    wanted: "no JSR import, which the build machines cannot test",
  },
  {
    pattern: new RegExp("deno-lint-" + "ignore(-file)?\\b.*\\bplugio/"),
    files: /\.ts$/,
    wanted: "an entry with a reason in tools/exceptions.ts",
  },
  {
    pattern: new RegExp("deno-lint-" + "ignore-file\\s*(--.*)?$"),
    files: /\.ts$/,
    wanted: "the names of the rules to ignore",
  },
  {
    pattern: new RegExp("\\b(no|some|any)" + "(body|one)\\b|\\bwho" + "ever\\b|\\bno " + "one\\b(?! of)", "i"),
    files: /\.(ts|md|sh|c|h)$/,
    wanted: "the name of the actor: guest, front end, driver, kernel, caller",
  },
];

/** Folders that hold nothing of this project's text. */
const SKIPPED = new Set([".git", ".native", "node_modules", "coverage"]);

/** All findings below a folder, one line each. */
function findText(root: string): string[] {
  const findings: string[] = [];
  for (const path of walk(root, "")) {
    const rules = RULES.filter((rule) => rule.files.test(path));
    if (rules.length === 0) continue;
    Deno.readTextFileSync(join(root, path)).split("\n").forEach((line, index) => {
      for (const rule of rules) {
        const [match] = rule.pattern.exec(line) ?? [];
        if (match === undefined) continue;
        findings.push(`${path}:${index + 1}: Cannot use ${JSON.stringify(match)}: expected ${rule.wanted}`);
      }
    });
  }
  return findings;
}

/** Exceptions for files that no longer exist, or without a reason. */
function findStaleExceptions(root: string): string[] {
  return EXCEPTIONS.flatMap(({ file, rule, reason }) => {
    if (reason.trim() === "") return [`tools/exceptions.ts: Cannot except ${file} from ${rule}: expected a reason`];
    try {
      Deno.statSync(join(root, file));
      return [];
    } catch {
      return [`tools/exceptions.ts: Cannot except ${file} from ${rule}: expected a file that exists`];
    }
  });
}

/** The paths of all files below a folder. */
export function* walk(root: string, below: string): Generator<string> {
  for (const entry of Deno.readDirSync(join(root, below))) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory && !SKIPPED.has(entry.name)) yield* walk(root, path);
    if (entry.isFile) yield path;
  }
}

if (import.meta.main) {
  const root = Deno.args[0] ?? ".";
  const findings = [...findText(root), ...findStaleExceptions(root)];
  for (const finding of findings) print(finding);
  Deno.exit(findings.length === 0 ? 0 : 1);
}
