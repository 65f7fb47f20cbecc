/**
 * The conformance suite and random programs in the guest, over the namespaces of an emulated controller. Needs its
 * address in PLUGIO_TEST_NVME; PLUGIO_TEST_NAMESPACES says how many of them, PLUGIO_TEST_FULL leaves nothing out.
 */
import assert from "node:assert/strict";
import { ALL_CHECKS } from "../../../conformance/checks/all.ts";
import type { Check, Configuration } from "../../../conformance/configuration.ts";
import { outsideConfiguration } from "../../../conformance/configurations/outside.ts";
import { registerChecks } from "../../../conformance/register.ts";
import { findingText, runModel } from "../../../model/run.ts";
import "../../../support/libraries.ts";

const ADDRESS = Deno.env.get("PLUGIO_TEST_NVME")!;
const IS_FULL = Deno.env.get("PLUGIO_TEST_FULL") === "1";
/** The short run looks at the first namespace alone: the second one is for cases.ts. */
const NAMESPACES = IS_FULL ? Number(Deno.env.get("PLUGIO_TEST_NAMESPACES")) : 1;
const MODEL_MS = IS_FULL ? 10_000 : 2_000;

/** Checks of what is above the driver, and slow under emulation: the short run leaves them to the tests on the host. */
const SLOW = /^NOTHING$/;

/** The namespace as the suite knows targets. Any number of devices of a Worker share a controller and a queue. */
function configurationOf(nsid: number): Configuration {
  const outside = outsideConfiguration(`nvme:${ADDRESS}/${nsid}`);
  const { "two devices": _isShared, ...lacks } = outside.lacks;
  return { ...outside, lacks };
}

/** What a namespace cannot do by its nature is no test, so that none is skipped. */
function checksFor({ lacks }: Configuration): Check[] {
  const can = ALL_CHECKS.filter(({ needs = [] }) => needs.every((need) => lacks[need] === undefined));
  return IS_FULL ? can : can.filter(({ name }) => !SLOW.test(name));
}

for (let nsid = 1; nsid <= NAMESPACES; nsid++) {
  const configuration = configurationOf(nsid);
  registerChecks([configuration], checksFor(configuration));
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  Deno.test(`${configuration.name}: random programs agree with the model (seed ${seed})`, async () => {
    const { programs, finding } = await runModel(configuration, { seed, durationMs: MODEL_MS });
    if (finding !== null) assert.fail(findingText(finding));
    assert.ok(programs > 0);
  });
}
