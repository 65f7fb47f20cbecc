/**
 * Turns configurations and checks into tests.
 *
 * @module
 */
import { testWhen } from "../support/skip.ts";
import { type Check, type Configuration, Subject } from "./configuration.ts";

/** After this a check is taken for hung. Generous: only a bug waits for it. */
const DEADLINE_MS = 60_000;

/** Registers every check for every configuration; what cannot run is skipped with its reason. */
export function registerChecks(configurations: readonly Configuration[], checks: readonly Check[]): void {
  for (const configuration of configurations) {
    const { name, ready, lacks, optionalInCi = false } = configuration;
    if (ready !== true) {
      testWhen(ready, `${name}: the whole suite`, () => {}, { optionalInCi });
      continue;
    }
    for (const check of checks) {
      const missing = check.needs?.find((need) => lacks[need] !== undefined);
      const condition = missing === undefined || `no ${missing}: ${lacks[missing]}`;
      // What a configuration lacks by its nature is no failure of the machine, in CI neither.
      testWhen(condition, `${name}: ${check.name}`, () => runCheck(check, configuration), { optionalInCi: true });
    }
  }
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
