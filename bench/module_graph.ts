/**
 * What a module loads: itself and whatever it imports, but for types, for what it imports only when it is asked to, and
 * for the runtime's own modules.
 *
 * @module
 */
import { fileURLToPath, pathToFileURL } from "node:url";

/** What `deno info --json` says, as far as it is looked at. */
interface GraphReport {
  readonly modules: readonly {
    readonly specifier: string;
    readonly size?: number;
    readonly dependencies?: readonly {
      readonly isDynamic?: boolean;
      readonly code?: { readonly specifier?: string };
    }[];
  }[];
}

/** The modules that are loaded together. */
export interface LoadedModules {
  readonly paths: readonly string[];
  /** Bytes of their sources. */
  readonly byteLength: number;
}

/** The modules that are loaded when those of `paths` are imported. */
export async function loadedModules(...paths: readonly string[]): Promise<LoadedModules> {
  const found = new Map<string, number>();
  for (const path of paths) {
    const { modules } = await graphOf(path);
    const known = new Map(modules.map((module) => [module.specifier, module]));
    const queue = [pathToFileURL(path).href];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (found.has(next) || !next.startsWith("file:")) continue;
      const { size = 0, dependencies = [] } = known.get(next) ?? {};
      found.set(next, size);
      for (const { isDynamic = false, code } of dependencies) {
        if (!isDynamic && code?.specifier !== undefined) queue.push(code.specifier);
      }
    }
  }
  const byteLength = [...found.values()].reduce((sum, size) => sum + size, 0);
  return { paths: [...found.keys()].map((url) => fileURLToPath(url)).sort(), byteLength };
}

async function graphOf(path: string): Promise<GraphReport> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--no-lock", path],
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`Cannot read the modules of ${path}: ${decoder.decode(stderr)}`);
  return JSON.parse(decoder.decode(stdout)) as GraphReport;
}
