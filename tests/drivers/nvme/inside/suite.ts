/**
 * The conformance suite and random programs in the guest, over the namespaces of an emulated controller. Needs its
 * address in PLUGIO_TEST_ADDRESS; PLUGIO_TEST_NAMESPACES says how many of them, PLUGIO_TEST_FULL leaves nothing out.
 */
import assert from "node:assert/strict";
import { type BlockDevice, openDevice } from "../../../../mod.ts";
import { ALL_CHECKS } from "../../../conformance/checks/all.ts";
import type { Check, Configuration } from "../../../conformance/configuration.ts";
import { outsideConfiguration } from "../../../conformance/configurations/outside.ts";
import { runCheck } from "../../../conformance/register.ts";
import { findingText, runModel } from "../../../model/run.ts";
import "../../../support/libraries.ts";

const ADDRESS = Deno.env.get("PLUGIO_TEST_ADDRESS")!;
const IS_FULL = Deno.env.get("PLUGIO_TEST_FULL") === "1";
/** The short run looks at the first namespace alone: the second one is for cases.ts. */
const NAMESPACES = IS_FULL ? Number(Deno.env.get("PLUGIO_TEST_NAMESPACES")) : 1;
const MODEL_MS = IS_FULL ? 10_000 : 1_000;

/** Checks that collect garbage again and again, slow under emulation: the short run leaves them to the host's tests. */
const SLOW = /survive collections/;

/** What the keeper below does in between is no leak of a check; the long run has no keeper. */
const SANITIZERS = { sanitizeOps: IS_FULL, sanitizeResources: IS_FULL };

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

// Each check opens the namespace twice. In the short run the controller does not start anew each time: an opened device keeps
// it open, with a queue of another depth, so that the counters of the checks' queue are their own.
let keeper: BlockDevice | null = null;
Deno.test.beforeAll(async () => {
  if (!IS_FULL) keeper = await openDevice(`nvme:${ADDRESS}/1`, { queueDepth: 8, wait: "block" });
});
Deno.test.afterAll(() => keeper?.close());

for (let nsid = 1; nsid <= NAMESPACES; nsid++) {
  const configuration = configurationOf(nsid);
  for (const check of checksFor(configuration)) {
    Deno.test({
      name: `${configuration.name}: ${check.name}`,
      ...SANITIZERS,
      fn: () => runCheck(check, configuration),
    });
  }
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  Deno.test({
    name: `${configuration.name}: random programs agree with the model (seed ${seed})`,
    ...SANITIZERS,
    fn: async () => {
      const { programs, finding } = await runModel(configuration, { seed, durationMs: MODEL_MS });
      if (finding !== null) assert.fail(findingText(finding));
      assert.ok(programs > 0);
    },
  });
}
