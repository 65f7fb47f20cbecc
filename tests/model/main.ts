/**
 * `deno task test:model [--seed N] [--minutes M] [--driver D] [--configuration NAME] [--target T]`: random programs
 * against the model, for as long as you like. The exit code is 1 when a program failed.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { runScript } from "../../bench/script.ts";
import type { Configuration } from "../conformance/configuration.ts";
import { allConfigurations } from "../conformance/configurations/all.ts";
import { outsideConfiguration } from "../conformance/configurations/outside.ts";
import { findingText, runModel } from "./run.ts";

const DEFAULT_MINUTES = 5;
const MS_PER_MINUTE = 60_000;

const encoder = new TextEncoder();

function say(line: string): void {
  Deno.stdout.writeSync(encoder.encode(line + "\n"));
}

/** A number of the command line; throws a RangeError that says what was wanted. */
function numberOf(name: string, text: string, isFine: (value: number) => boolean, wanted: string): number {
  const value = Number(text);
  if (text.trim() === "" || !isFine(value)) throw new RangeError(`Cannot use --${name} "${text}": wanted ${wanted}`);
  return value;
}

/** The configurations that the options leave over. Throws when there is none. */
function choose({ driver, configuration, target }: Record<string, string | undefined>): Configuration[] {
  const all = target === undefined ? allConfigurations() : [outsideConfiguration(target)];
  const chosen = all.filter(({ name, driver: own }) =>
    (driver === undefined || driver === own) && (configuration === undefined || configuration === name)
  );
  if (chosen.length > 0) return chosen;
  throw new RangeError(
    `Cannot find a configuration of driver ${driver ?? "any"} named ${configuration ?? "anything"}: ` +
      `wanted one of ${all.map(({ name }) => name).join("; ")}`,
  );
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      minutes: { type: "string" },
      driver: { type: "string" },
      configuration: { type: "string" },
      target: { type: "string" },
    },
  });
  const isSeed = (value: number) => Number.isInteger(value) && value >= 0 && value < 2 ** 32;
  const seed = values.seed === undefined
    ? crypto.getRandomValues(new Uint32Array(1))[0]!
    : numberOf("seed", values.seed, isSeed, "an integer from 0 to 2^32 − 1");
  const minutes = numberOf("minutes", values.minutes ?? `${DEFAULT_MINUTES}`, (value) => value > 0, "a number above 0");
  const configurations = choose(values);
  say(`seed ${seed}, ${minutes} minutes, ${configurations.length} configurations`);
  const durationMs = minutes * MS_PER_MINUTE / configurations.length;
  let failures = 0;
  for (const configuration of configurations) {
    if (configuration.ready !== true) {
      say(`SKIP ${configuration.name}: ${configuration.ready}`);
      continue;
    }
    const { programs, finding } = await runModel(configuration, { seed, durationMs });
    say(finding === null ? `ok ${configuration.name}: ${programs} programs` : `FAILED ${findingText(finding)}`);
    if (finding !== null) failures++;
  }
  return failures === 0 ? 0 : 1;
}

if (import.meta.main) await runScript(import.meta.url, main);
