/** Random programs against the model, on every configuration: twenty seconds' worth. More: `deno task test:model`. */
import assert from "node:assert/strict";
import { allConfigurations } from "../conformance/configurations/all.ts";
import "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { findingText, runModel } from "./run.ts";

const TOTAL_MS = 20_000;

const configurations = allConfigurations();
const durationMs = TOTAL_MS / configurations.length;

for (const configuration of configurations) {
  const { name, ready, optionalInCi = false } = configuration;
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  testWhen(ready, `${name}: random programs agree with the model (seed ${seed})`, async () => {
    const { programs, finding } = await runModel(configuration, { seed, durationMs });
    if (finding !== null) assert.fail(findingText(finding));
    assert.ok(programs > 0);
  }, { optionalInCi });
}
