import { CliError } from "../failure.ts";
import type { ExitCode } from "../exit_codes.ts";
import type { FromWorker, PostedFailure, ToWorker } from "./messages.ts";
import { type JobResult, processUsage, resultWithoutWorker } from "./meter.ts";
import { longestRampMs } from "./options.ts";
import type { JobPlan } from "./plan.ts";
import { type LiveView, type Sample, SAMPLE_MS, Sampler } from "./sampler.ts";
import { Phase, SharedState } from "./shared_state.ts";

/** Milliseconds after its end at which a job is asked to stop: a Worker on a busy machine starts late. */
const OVERDUE_MS = 2_000;

/** Milliseconds that I/Os in flight get after the end before the results are printed without them. */
export const DRAIN_MS = 5_000;

/** Milliseconds between looks at how far draining is. */
const DRAIN_LOOK_MS = 100;

/** What came out of all Workers. */
export interface LoadOutcome {
  /** One result a Worker; those of stuck ones have counts but no latencies. */
  readonly jobs: readonly JobResult[];
  readonly samples: readonly Sample[];
  /** The same for each Worker, where that was asked for. */
  readonly jobSamples?: readonly (readonly Sample[])[];
  /** What the devices have to say about how they were opened, each once. */
  readonly notes: readonly string[];
  /** Workers whose I/O did not come back in time. */
  readonly stuckJobs: readonly number[];
  /** Workers that ended before they had a result. */
  readonly lostJobs?: readonly number[];
  /** What went wrong in Workers, also after their results were complete. */
  readonly failures?: readonly CliError[];
  readonly startedAt: Date;
  /** Wall-clock time from the first submission to the last result. */
  readonly elapsedMs: number;
}

/** What the engine needs from its caller while it runs. */
export interface LoadObserver {
  /** Milliseconds between samples; {@link SAMPLE_MS} unless told otherwise. */
  readonly sampleMs?: number;
  /** Milliseconds for what is in flight at the end; {@link DRAIN_MS} unless told otherwise. */
  readonly drainMs?: number;
  /** Also sample each Worker by itself. */
  readonly samplesEachJob?: boolean;
  /** Called for each sample, with how far the run is. `sample` is null for an interval that is not measured. */
  onSample(view: LiveView, elapsedMs: number, sample: Sample | null): void;
}

/** One Worker as the main thread sees it. */
interface JobHandle {
  readonly plan: JobPlan;
  readonly worker: Worker;
  readonly ready: PromiseWithResolvers<void>;
  /** Resolved when it ends, in whatever way. */
  readonly ended: PromiseWithResolvers<void>;
  result: JobResult | null;
  failure: CliError | null;
  notes: readonly string[];
}

/**
 * Runs one Worker for each plan: all open their devices, all start together, all are drained. One run, one engine.
 */
export class LoadEngine implements Disposable {
  readonly #shared: SharedState;
  readonly #handles: readonly JobHandle[];
  readonly #stopped = Promise.withResolvers<"stopped">();

  /** Starts the Workers; they open their devices but do no I/O before `run`. */
  constructor(plans: readonly JobPlan[]) {
    this.#shared = SharedState.create(plans.length);
    this.#handles = plans.map((plan) => startWorker(plan, this.#shared));
  }

  /** Ends the run early: no new I/O, and only {@link DRAIN_MS} for what is in flight. */
  stop(): void {
    this.#shared.requestStop();
    this.#stopped.resolve("stopped");
  }

  /** Ends the run because it has reached its aim: as {@link stop}, but the result is no partial one. */
  finishEarly(): void {
    this.#shared.requestStop(true);
    this.#stopped.resolve("stopped");
  }

  /**
   * Runs all jobs to their end. Rejects with the failure of a Worker that comes before the start; a later one is part of
   * the outcome, like what all Workers have measured.
   */
  async run(observer: LoadObserver): Promise<LoadOutcome> {
    await Promise.all(this.#handles.map((handle) => handle.ready.promise));
    const startedAt = new Date();
    const startMs = performance.now();
    const usageAtStart = processUsage();
    for (const { worker } of this.#handles) post(worker, { type: "start" });
    const sampler = new Sampler(this.#shared, this.#handles.length, startMs);
    const each = observer.samplesEachJob === true
      ? this.#handles.map(({ plan }) => new Sampler(this.#shared, 1, startMs, plan.jobIndex))
      : [];
    const timer = setInterval(() => {
      const nowMs = performance.now();
      for (const one of each) one.sample(nowMs);
      const { view, sample } = sampler.sample(nowMs);
      observer.onSample(view, nowMs - startMs, sample);
    }, observer.sampleMs ?? SAMPLE_MS);
    try {
      await this.#finish(observer.drainMs ?? DRAIN_MS);
    } finally {
      clearInterval(timer);
    }
    const elapsedMs = performance.now() - startMs;
    const usage = { atStart: usageAtStart, atEnd: processUsage() };
    return {
      jobs: this.#handles.map(({ result, plan }) =>
        result ?? resultWithoutWorker(plan, this.#shared.read(plan.jobIndex), elapsedMs, usage)
      ),
      samples: sampler.samples,
      jobSamples: each.map(({ samples }) => samples),
      notes: [...new Set(this.#handles.flatMap(({ notes }) => notes))],
      stuckJobs: this.#without((failure) => failure === null),
      lostJobs: this.#without((failure) => failure !== null),
      failures: this.#handles.flatMap(({ failure }) => failure === null ? [] : [failure]),
      startedAt,
      elapsedMs,
    };
  }

  /** Ends the Workers, also those that are stuck in the kernel. */
  [Symbol.dispose](): void {
    for (const { worker } of this.#handles) worker.terminate();
  }

  /** Jobs without a result, by whether they failed. */
  #without(wanted: (failure: CliError | null) => boolean): number[] {
    return this.#handles.filter(({ result, failure }) => result === null && wanted(failure))
      .map(({ plan }) => plan.jobIndex);
  }

  /** Waits for all results, but not for ever: see {@link LoadEngine.#drain}. */
  async #finish(drainMs: number): Promise<void> {
    const all = Promise.all(this.#handles.map((handle) => handle.ended.promise));
    const { plan } = this.#handles[0]!;
    // Each job ends by its own clock, which starts a little after this one; this is for a job that does not.
    const end = delay(plan.startDelayMs + longestRampMs(plan) + plan.runtimeMs + OVERDUE_MS);
    const first = await Promise.race([all, end.promise.then(() => "overdue"), this.#stopped.promise]);
    end.cancel();
    if (Array.isArray(first)) return;
    if (first === "overdue" && !this.#isReadingBack) this.#shared.requestStop();
    await this.#drain(all, drainMs);
  }

  /** Gives I/Os in flight `drainMs`. Reading back takes as long as it takes, unless it is stopped, too. */
  async #drain(all: Promise<unknown>, drainMs: number): Promise<void> {
    for (let leftMs = drainMs; leftMs > 0;) {
      const look = delay(DRAIN_LOOK_MS);
      const isOver = await Promise.race([all.then(() => true), look.promise.then(() => false)]);
      look.cancel();
      if (isOver) return;
      leftMs = this.#isReadingBack ? drainMs : leftMs - DRAIN_LOOK_MS;
    }
  }

  get #isReadingBack(): boolean {
    if (this.#shared.interrupted) return false;
    return this.#handles.some(({ plan, result, failure }) =>
      result === null && failure === null && this.#shared.read(plan.jobIndex).phase === Phase.verify
    );
  }
}

function startWorker(plan: JobPlan, shared: SharedState): JobHandle {
  const worker = new Worker(new URL("./worker.ts", import.meta.url).href, {
    type: "module",
    name: `plugio job ${plan.jobIndex}`,
  });
  const handle: JobHandle = {
    plan,
    worker,
    ready: Promise.withResolvers<void>(),
    ended: Promise.withResolvers<void>(),
    result: null,
    failure: null,
    notes: [],
  };
  // A failure after the start rejects what has been awaited already.
  handle.ready.promise.catch(() => {});
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(handle, data);
  worker.onerror = (event) => {
    event.preventDefault();
    fail(handle, { lines: [`Worker of job ${plan.jobIndex} failed: ${event.message}`], exitCode: 1 });
  };
  post(worker, { type: "prepare", plan, shared: shared.buffer });
  return handle;
}

function receive(handle: JobHandle, message: FromWorker): void {
  switch (message.type) {
    case "ready":
      handle.notes = message.notes;
      return handle.ready.resolve();
    case "ended":
      handle.result = message.result;
      if (message.failure !== null) return fail(handle, message.failure);
      return handle.ended.resolve();
  }
}

function fail(handle: JobHandle, failure: PostedFailure): void {
  const [line = "A Worker failed", ...rest] = failure.lines;
  handle.failure ??= new CliError(failure.exitCode as ExitCode, line, { hint: rest.join("\n") });
  handle.ready.reject(handle.failure);
  handle.ended.resolve();
}

function post(worker: Worker, message: ToWorker): void {
  worker.postMessage(message);
}

function delay(ms: number): { readonly promise: Promise<void>; cancel(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  return { promise, cancel: () => clearTimeout(timer) };
}
