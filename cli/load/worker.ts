/**
 * Entry of a job's Worker: opens a device of its own, waits for the start, runs the job, posts the result.
 *
 * @module
 */
import { type BlockDevice, openDevice } from "../../mod.ts";
import { debugWanted } from "../debug.ts";
import { describeFailure } from "../failure.ts";
import { CallbackJob } from "./callback_job.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { type JobResult, Meter } from "./meter.ts";
import { OpenLoopJob } from "./open_loop_job.ts";
import { Workload } from "./pattern.ts";
import type { JobPlan } from "./plan.ts";
import { PromiseJob } from "./promise_job.ts";
import { readBack } from "./read_back.ts";
import { Phase, SharedState } from "./shared_state.ts";
import { printTrace } from "./trace.ts";

/** The part of a Worker's global scope that is used; the type checker assumes a window. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
  close(): void;
}

const scope = globalThis as unknown as WorkerScope;

/** Resolved by the start message, so that all Workers begin together. */
const started = Promise.withResolvers<void>();

scope.onmessage = ({ data }) => {
  if (data.type === "start") return started.resolve();
  runJob(data.plan, new SharedState(data.shared)).then(
    () => scope.postMessage({ type: "ended", result: known, failure: null }),
    (error: unknown) =>
      scope.postMessage({ type: "ended", result: known, failure: describeFailure(error, debugWanted()) }),
  );
};

/** What was measured so far. A failure later on, of the last flush or of the close, does not take it away. */
let known: JobResult | null = null;

/** The result is posted after the device is closed: the main thread then ends the Worker at once. */
async function runJob(plan: JobPlan, shared: SharedState): Promise<void> {
  if (plan.trace) printTrace(plan.jobIndex);
  await using device = await openForJob(plan);
  const workload = new Workload(plan, device.allocate(plan.ioDepth, plan.range.blockBytes));
  const Job = plan.rateIops !== null ? OpenLoopJob : plan.api === "promise" ? PromiseJob : CallbackJob;
  const job = new Job(device, plan, workload);
  scope.postMessage({ type: "ready", notes: [...device.notes] });
  await started.promise;
  await startDelay(plan.startDelayMs, shared);
  const meter = new Meter(plan, device.stats, shared);
  try {
    await job.run(meter);
  } finally {
    known = meter.finish();
  }
  if (workload.ledger === null) return;
  shared.setPhase(plan.jobIndex, Phase.verify);
  known = { ...known, verification: await readBack(device, workload.ledger, workload.buffers, shared) };
}

/** Milliseconds between two looks at the stop flag. */
const DELAY_STEP_MS = 50;

/** fio's `startdelay`: the job waits, unless the run is interrupted. */
async function startDelay(ms: number, shared: SharedState): Promise<void> {
  const endMs = performance.now() + ms;
  for (let left = ms; left > 0 && !shared.interrupted; left = endMs - performance.now()) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(left, DELAY_STEP_MS)));
  }
}

function openForJob(plan: JobPlan): Promise<BlockDevice> {
  return openDevice(plan.target, {
    driver: plan.driver,
    direct: plan.direct,
    readOnly: plan.readOnly,
    batch: plan.batch,
    wait: plan.wait,
    ...plan.keepTick === null ? {} : { keepTick: plan.keepTick },
    queueDepth: plan.ioDepth,
    blkio: plan.blkio,
    nbd: plan.nbd,
  });
}
