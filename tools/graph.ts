/**
 * Checks of the modules together: no circle of imports, types included, and no export that only its own file uses.
 *
 * `deno run tools/graph.ts [ROOT]` prints one line per finding and exits 1 if there is any.
 *
 * @module
 */

import { dirname, join, normalize } from "node:path/posix";
import { ENTRY_POINTS } from "./lint/rooms.ts";
import { print } from "./say.ts";
import { walk } from "./text.ts";

/** Modules that form no circle. */
const LAYERED = /^(core|ffi|drivers|devices|cli|tools)\/|^(mod|cli)\.ts$/;

/** Modules whose exports have to be used. */
const LEAN = /^(core|ffi|drivers|devices|cli)\//;

/** One module: what it imports from whom, by name, and what it exports. */
interface Module {
  readonly path: string;
  /** Paths of the modules that it imports. */
  readonly imports: ReadonlySet<string>;
  /** `path name` for each name that it takes; `path *` for all of them. */
  readonly takes: readonly string[];
  /** Names that it declares and exports. */
  readonly exports: readonly string[];
}

const FROM =
  /^(?:import|export)\s+(?:type\s+)?(\*(?:\s+as\s+\w+)?|\w+|(?:\w+\s*,\s*)?\{[^}]*\})\s+from\s+"(\.[^"]+)"/gm;
const LAZY = /\bimport\("(\.[^"]+)"\)(?!\)?\.\w)|new URL\("(\.[^"]+)", import\.meta\.url\)/g;
const MEMBER = /\bimport\("(\.[^"]+)"\)\)?\.(\w+)/g;
const DECLARED =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:const enum|const|let|function\*?|class|interface|type|enum) (\w+)/gm;
const LISTED = /^export (?:type )?\{([^}]*)\};/gm;

/** The modules below a folder. */
export function readModules(root: string): Module[] {
  return [...walk(root, "")].filter((path) => path.endsWith(".ts")).map((path) => {
    const text = Deno.readTextFileSync(join(root, path));
    const at = (specifier: string) => normalize(join(dirname(path), specifier));
    const imports = new Set<string>();
    const takes: string[] = [];
    for (const [, names = "", specifier = ""] of text.matchAll(FROM)) {
      imports.add(at(specifier));
      takes.push(...namesOf(names).map((name) => `${at(specifier)} ${name}`));
    }
    for (const [, lazy, url] of text.matchAll(LAZY)) takes.push(`${at((lazy ?? url)!)} *`);
    for (const [, specifier, name] of text.matchAll(MEMBER)) takes.push(`${at(specifier!)} ${name}`);
    const listed = [...text.matchAll(LISTED)].flatMap(([, names]) => namesOf(`{${names}}`));
    const exports = [...[...text.matchAll(DECLARED)].map(([, name]) => name!), ...listed];
    return { path, imports, takes, exports };
  });
}

/** The names of `{ a, type b, c as d }` as the other module calls them; `*` for everything else. */
function namesOf(clause: string): string[] {
  const [, inside] = /\{([^}]*)\}/.exec(clause) ?? [];
  if (inside === undefined) return ["*"];
  return inside.split(",").map((item) => item.trim().replace(/^type\s+/, "").replace(/\s+as\s+.*/, "")).filter(Boolean);
}

/** Each group of modules that import each other, in whatever way; one line a group. */
export function findCircles(modules: readonly Module[]): string[] {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  const reach = new Map<string, Set<string>>();
  const reachOf = (start: string) => {
    const known = reach.get(start);
    if (known !== undefined) return known;
    const seen = new Set<string>();
    const left = [start];
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      for (const next of byPath.get(path)?.imports ?? []) {
        if (seen.has(next)) continue;
        seen.add(next);
        left.push(next);
      }
    }
    reach.set(start, seen);
    return seen;
  };
  const groups = new Set<string>();
  for (const { path } of modules.filter(({ path }) => LAYERED.test(path))) {
    if (!reachOf(path).has(path)) continue;
    groups.add([...reachOf(path)].filter((other) => reachOf(other).has(path)).sort().join(", "));
  }
  return [...groups].map((group) => `Cannot import in a circle: ${group}; expected one direction`);
}

/** Exports that no other module takes; what an entry point of the package declares is for its users. */
export function findUnusedExports(modules: readonly Module[], entries: readonly string[]): string[] {
  const taken = new Set(modules.flatMap(({ takes }) => takes));
  return modules.filter(({ path }) => LEAN.test(path) && !entries.includes(path)).flatMap(({ path, exports }) => {
    if (taken.has(`${path} *`)) return [];
    const unused = exports.filter((name) => !taken.has(`${path} ${name}`));
    return unused.map((name) => `${path}: Cannot export ${name}: expected another module that takes it`);
  });
}

if (import.meta.main) {
  const root = Deno.args[0] ?? ".";
  const modules = readModules(root);
  const findings = [...findCircles(modules), ...findUnusedExports(modules, Object.values(ENTRY_POINTS))];
  findings.forEach((finding) => print(finding));
  Deno.exit(findings.length === 0 ? 0 : 1);
}
