import os from "node:os";
import { formatSize } from "../../core/base/units.ts";
import { VERSION } from "../version.ts";
import { shellWord } from "../words.ts";
import type { LoadOptions } from "./options.ts";
import type { TargetSurvey } from "./target.ts";

/** Where and how a run was made: what a reader needs to repeat it. */
export interface RunContext {
  readonly target: string;
  /** Name and value of each line, in the order of printing. */
  readonly lines: Readonly<Record<string, string>>;
}

/** Collects the context. What this system does not tell is left out. */
export function collectContext(options: LoadOptions, survey: TargetSurvey, args: readonly string[]): RunContext {
  const { facts } = survey;
  const lines: Record<string, string> = {
    command: ["deno run -P cli.ts", ...args.map(shellWord)].join(" "),
    seed: String(options.seed),
    target: `${facts.target}, ${survey.kind} of ${formatSize(facts.sizeBytes)}`,
    ...survey.details,
    driver: survey.driver,
    machine: machine(survey.memoryBytes),
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    runtime: `plugio ${VERSION}, Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`,
  };
  return { target: facts.target, lines };
}

function machine(memoryBytes: number): string {
  const cpus = os.cpus();
  const model = cpus[0]?.model.trim();
  const processors = `${cpus.length} × ${model === undefined || model === "" ? "unknown processor" : model}`;
  return memoryBytes > 0 ? `${processors}, ${formatSize(memoryBytes)} of memory` : processors;
}
