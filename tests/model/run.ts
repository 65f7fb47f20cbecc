/**
 * Runs program after program on one configuration, and explains the first that fails.
 *
 * @module
 */
import type { Configuration } from "../conformance/configuration.ts";
import { execute, type Failure } from "./execute.ts";
import { type Program, programOf, programText } from "./program.ts";
import { shrink } from "./shrink.ts";

/** Default of {@link ModelRun.shrinkAttempts}. */
const SHRINK_ATTEMPTS = 300;

/** A program that fails, made small. */
export interface Finding {
  readonly configuration: Configuration;
  readonly seed: number;
  readonly program: Program;
  readonly failure: Failure;
}

/** How long to look. */
export interface ModelRun {
  /** Seed of the first program; the next one has the next seed. */
  readonly seed: number;
  /** No program is started after so many milliseconds; one is run in any case. */
  readonly durationMs: number;
  /** Milliseconds after which a step is taken for hung. */
  readonly deadlineMs?: number;
  /** Runs of a failing program, at most, to make it small. Default 300. */
  readonly shrinkAttempts?: number;
}

/** What came out. */
export interface ModelResult {
  readonly programs: number;
  readonly finding: Finding | null;
}

/** Runs programs on `configuration` until the time is up or one fails. */
export async function runModel(configuration: Configuration, options: ModelRun): Promise<ModelResult> {
  const { seed: first, durationMs, deadlineMs, shrinkAttempts = SHRINK_ATTEMPTS } = options;
  const end = performance.now() + durationMs;
  for (let programs = 1;; programs++) {
    const seed = (first + programs - 1) >>> 0;
    const program = programOf(seed);
    const failure = await execute(configuration, program, deadlineMs);
    if (failure === null) {
      if (performance.now() < end) continue;
      return { programs, finding: null };
    }
    let last = failure;
    const small = await shrink(program, async (candidate) => {
      const again = await execute(configuration, candidate, deadlineMs);
      if (again !== null) last = again;
      return again !== null;
    }, shrinkAttempts);
    return { programs, finding: { configuration, seed, program: small, failure: last } };
  }
}

/** A finding for people, with the command that shows it again. */
export function findingText({ configuration, seed, program, failure }: Finding): string {
  return [
    `${configuration.name}, seed ${seed}: step ${failure.step + 1}: ${failure.message}`,
    "The smallest program that fails:",
    programText(program),
    `Again: deno task test:model --seed ${seed} ${
      configuration.isOutside ? "--target" : "--configuration"
    } '${configuration.name}'`,
  ].join("\n");
}
