/**
 * Turns configurations and checks into tests.
 *
 * @module
 */
import { type TestHost, testWhen } from "../support/skip.ts";
import { type Check, type Configuration, Subject } from "./configuration.ts";

/** After this a check is taken for hung. Generous: only a bug waits for it. */
const DEADLINE_MS = 60_000;

/**
 * Registers every check for every configuration; what cannot run is skipped with its reason. `host` is for the tests of
 * this.
 */
export function registerChecks(
  configurations: readonly Configuration[],
  checks: readonly Check[],
  host?: TestHost,
): void {
  const on = host === undefined ? {} : { host };
  for (const configuration of configurations) {
    const { name, ready, optionalInCi = false } = configuration;
    if (ready !== true) {
      testWhen(ready, `${name}: the whole suite`, () => {}, { optionalInCi, ...on });
      continue;
    }
    for (const check of checks) {
      const { condition, isNature } = conditionOf(check, configuration);
      // What a configuration lacks by its nature is no failure of the machine, in CI neither.
      const options = { optionalInCi: isNature, ...on };
      testWhen(condition, `${name}: ${check.name}`, () => runCheck(check, configuration), options);
    }
  }
}

/** Whether a check can run over a configuration, and if not, whether on no machine. */
function conditionOf(
  { needs = [] }: Check,
  { lacks, missing = {} }: Configuration,
): { readonly condition: true | string; readonly isNature: boolean } {
  const lacked = needs.find((need) => lacks[need] !== undefined);
  if (lacked !== undefined) return { condition: `no ${lacked}: ${lacks[lacked]}`, isNature: true };
  const absent = needs.find((need) => missing[need] !== undefined);
  if (absent !== undefined) return { condition: `no ${absent} here: ${missing[absent]}`, isNature: false };
  return { condition: true, isNature: false };
}

/** Runs one check; a check that hangs is an error after `deadlineMs`. */
export async function runCheck(check: Check, configuration: Configuration, deadlineMs = DEADLINE_MS): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Cannot finish "${check.name}" within ${deadlineMs} ms`)), deadlineMs);
  });
  try {
    await Promise.race([check.run(new Subject(configuration)), deadline]);
  } finally {
    clearTimeout(timer);
  }
}
