import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { failed } from "../failure.ts";
import { AtomicFile } from "../output_file.ts";
import { type Manifest, PACKED_NAME, RAW_FOLDER, rawName } from "./manifest.ts";
import { readRun, type RunFigures } from "./run_figures.ts";

/** One run as it was found. */
export interface StoredRun {
  readonly id: string;
  readonly round: number;
  /** Where the raw result is, relative to the results folder. */
  readonly link: string;
  readonly figures: RunFigures;
}

/** What a results folder holds. */
export interface StoredRuns {
  readonly runs: readonly StoredRun[];
  /** Raw results that cannot be read, in words. */
  readonly faults: readonly string[];
}

/** Reads every raw result that the plan names: from the raw folder, and what is not there from the packed file. */
export function readRuns(folder: string, manifest: Manifest): StoredRuns {
  const runs: StoredRun[] = [];
  const faults: string[] = [];
  const packed = readPacked(folder);
  for (let round = 1; round <= manifest.plan.rounds; round++) {
    for (const { id } of manifest.plan.points) {
      const name = rawName(id, round);
      const path = join(folder, RAW_FOLDER, name);
      try {
        const text = readIfThere(path);
        const json: unknown = text === null ? packed.get(name) : parse(text, path);
        if (json === undefined) continue;
        const link = text === null ? PACKED_NAME : `${RAW_FOLDER}/${name}`;
        runs.push({ id, round, link, figures: readRun(json, path) });
      } catch (error) {
        faults.push((error as Error).message);
      }
    }
  }
  return { runs, faults };
}

/**
 * Puts all raw results of a folder into one compressed file beside them, each passed through `edit`, and removes the
 * single ones.
 */
export function packRuns(folder: string, edit: (text: string) => string = (text) => text): void {
  const names = [...Deno.readDirSync(join(folder, RAW_FOLDER))].map(({ name }) => name).filter(isRawName).sort();
  const lines = names.map((name) => {
    const result: unknown = JSON.parse(Deno.readTextFileSync(join(folder, RAW_FOLDER, name)));
    return edit(JSON.stringify({ name, result }));
  });
  using file = new AtomicFile(join(folder, PACKED_NAME));
  file.commit(gzipSync(lines.join("\n") + "\n", { level: 9 }));
  Deno.removeSync(join(folder, RAW_FOLDER), { recursive: true });
}

function isRawName(name: string): boolean {
  return /\.r\d+\.json$/.test(name);
}

function readPacked(folder: string): Map<string, unknown> {
  const path = join(folder, PACKED_NAME);
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Map();
    throw failed(`Cannot read ${path}: ${(error as Error).message}, wanted a readable file`, error);
  }
  try {
    const lines = new TextDecoder().decode(gunzipSync(bytes)).trimEnd().split("\n");
    return new Map(lines.map((line) => {
      const { name, result } = JSON.parse(line) as { name: string; result: unknown };
      return [name, result];
    }));
  } catch (error) {
    throw failed(`Cannot read ${path}: ${(error as Error).message}, wanted gzip of one JSON line a run`, error);
  }
}

function readIfThere(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw failed(`Cannot read ${path}: ${(error as Error).message}, wanted a readable file`, error);
  }
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw failed(`Cannot read result ${path}: it is not JSON, wanted it whole`, error);
  }
}
