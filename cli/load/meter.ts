import process from "node:process";
import { monotonicMs, newQueueStats } from "../../drivers/driver.ts";
import type { QueueStats } from "../../mod.ts";
import { DepthCounts, type DepthSnapshot } from "./depth.ts";
import { LatencyCounts, type LatencySnapshot } from "./latency.ts";
import { longestRampMs } from "./options.ts";
import type { JobPlan } from "./plan.ts";
import { RateCounts, type RateSummary } from "./rate.ts";
import type { Verification } from "./read_back.ts";
import { type LiveCounts, Phase, type SharedState, Total } from "./shared_state.ts";

/** Milliseconds between looks at the stop flag and publications of the live counts: both cost more than an I/O. */
const HOUSEKEEPING_MS = 1;

/** One direction of one job. */
export interface DirectionResult {
  readonly ios: number;
  readonly bytes: number;
  /** I/Os that transferred less than a block. */
  readonly shortIos: number;
  readonly latency: LatencySnapshot;
}

/** What the operating system counted for the whole process so far. */
export interface ProcessUsage {
  readonly userUs: number;
  readonly systemUs: number;
  readonly contextSwitches: number;
  readonly majorFaults: number;
  readonly minorFaults: number;
}

/** The measured window of one job. Plain data, posted to the main thread. */
export interface JobResult {
  readonly jobIndex: number;
  /** Length of the window. */
  readonly windowMs: number;
  readonly read: DirectionResult;
  readonly write: DirectionResult;
  /** Failed I/Os by positive errno, from the first submission on: an error in the ramp is one, too. */
  readonly errors: readonly (readonly [errno: number, count: number])[];
  /** Counters of the queue over the window. */
  readonly stats: QueueStats;
  readonly depth: DepthSnapshot;
  /** Readings at the ends of the window; process-wide, so all Workers are in each. */
  readonly usageAtStart: ProcessUsage;
  readonly usageAtEnd: ProcessUsage;
  /** True when the window is shorter than what was asked for. */
  readonly partial: boolean;
  /** I/Os of the ramp that its time was too short for. */
  readonly rampIosMissing: number;
  /** How the job kept its rate, or null where it has none. */
  readonly rate: RateSummary | null;
  /** What reading back found, where writes are verified. */
  readonly verification?: Verification;
}

class DirectionMeter {
  ios = 0;
  bytes = 0;
  shortIos = 0;
  readonly latency = new LatencyCounts();

  reset(): void {
    this.ios = 0;
    this.bytes = 0;
    this.shortIos = 0;
    this.latency.reset();
  }

  snapshot(): DirectionResult {
    return { ios: this.ios, bytes: this.bytes, shortIos: this.shortIos, latency: this.latency.snapshot() };
  }
}

/**
 * The clock and the counters of one job.
 *
 * The clock is read once a completion pass and serves as the completion time of all I/Os of the pass and as the
 * submission time of those that follow them: a reading costs as much as the rest of an I/O. So the time that the job
 * itself takes between a completion and the next submission is part of the latency, which errs on the honest side.
 */
export class Meter {
  /** Milliseconds of the running pass. */
  now: number;
  /** False once the job should submit nothing more: the time is up, it was told to stop, or its I/Os are used up. */
  running = true;

  readonly #plan: JobPlan;
  readonly #shared: SharedState;
  readonly #stats: QueueStats;
  readonly #read = new DirectionMeter();
  readonly #write = new DirectionMeter();
  readonly #depth: DepthCounts;
  readonly #rate = new RateCounts();
  /** When the I/O of each slot was submitted. */
  readonly #submittedMs: Float64Array;
  readonly #errors = new Map<number, number>();
  #errorCount = 0;
  #passIos = 0;
  #phase: Phase = Phase.ramp;
  readonly #rampEndMs: number;
  /** When the ramp ends although I/Os of it are left. */
  readonly #rampLimitMs: number;
  /** When the window closes; Infinity until it opens. */
  #endMs: number;
  #housekeepingMs = 0;
  #windowStartMs: number;
  #windowEndMs = 0;
  #usageAtStart: ProcessUsage;
  #usageAtEnd: ProcessUsage;
  #statsAtStart: QueueStats;
  #statsAtEnd: QueueStats;
  #windowIsOpen = true;
  #rampIosMissing = 0;
  /** I/Os that may still be submitted, where there is a number. */
  #budget: number;
  readonly #isBudgeted: boolean;
  /** Sums of the ramp, so that the live counts never go back. */
  readonly #ramp = new Float64Array(Total.count);
  readonly #totals = new Float64Array(Total.count);

  /** Starts the clock. */
  constructor(plan: JobPlan, stats: QueueStats, shared: SharedState) {
    this.#plan = plan;
    this.#shared = shared;
    this.#stats = stats;
    this.#depth = new DepthCounts(stats);
    this.#submittedMs = new Float64Array(plan.ioDepth);
    this.#isBudgeted = plan.numberIos !== null;
    this.#budget = plan.numberIos ?? 0;
    this.now = monotonicMs();
    this.#windowStartMs = this.now;
    this.#rampEndMs = this.now + plan.rampMs;
    this.#rampLimitMs = this.now + longestRampMs(plan);
    // A job that is held up past the end of its ramp is measured from then on: what it did in the ramp is no result.
    const hasRamp = plan.rampMs > 0 || plan.rampIos > 0;
    this.#endMs = hasRamp ? Infinity : this.now + plan.runtimeMs;
    this.#usageAtStart = this.#usageAtEnd = processUsage();
    this.#statsAtStart = this.#statsAtEnd = { ...stats };
    this.#setPhase(hasRamp ? Phase.ramp : Phase.measure);
  }

  /** Begins a completion pass: reads the clock, and opens or closes the window where its time has come. */
  startPass(): void {
    const before = this.now;
    this.now = monotonicMs();
    this.#depth.pass(this.#passIos);
    this.#passIos = 0;
    if (this.now < this.#housekeepingMs) return;
    if (this.#phase === Phase.ramp && this.#isRampOver(before)) this.#openWindow(before);
    if (!this.#windowIsOpen && this.#phase !== Phase.drain) this.#setPhase(Phase.drain);
    if (this.#windowIsOpen && (this.now >= this.#endMs || this.#shared.stopRequested)) this.#closeWindow();
    this.#publish();
    this.#housekeepingMs = this.#nextHousekeeping();
  }

  /** Notes that the I/O of slot `index`, below the depth, is submitted in this pass. */
  submit(index: number): void {
    this.#submittedMs[index] = this.now;
    if (this.#isBudgeted && --this.#budget === 0) this.running = false;
  }

  /** The same for an I/O that should have started at `startMs`: its latency counts from there. */
  submitAt(index: number, startMs: number): void {
    this.submit(index);
    this.#submittedMs[index] = startMs;
    this.#rate.start(this.now - startMs);
  }

  /** Counts what is due every `intervalMs` from `nextMs` on and does not start any more; to be called at the end. */
  leaveDue(nextMs: number, intervalMs: number): void {
    const inWindowMs = nextMs + Math.max(0, Math.ceil((this.#windowStartMs - nextMs) / intervalMs)) * intervalMs;
    const endMs = Math.min(this.#endMs, this.#windowIsOpen ? this.now : this.#windowEndMs);
    this.#rate.leave(inWindowMs, intervalMs, endMs, this.#isBudgeted ? this.#budget : Infinity);
  }

  /** Counts the completed I/O of slot `index`: `result` is bytes or −errno. */
  record(isWrite: boolean, result: number, index: number): void {
    if (result < 0) return this.#recordError(-result);
    if (this.#phase === Phase.drain) return;
    this.#passIos++;
    const direction = isWrite ? this.#write : this.#read;
    direction.ios++;
    direction.bytes += result;
    if (result < this.#plan.range.blockBytes) direction.shortIos++;
    direction.latency.record((this.now - this.#submittedMs[index]!) * 1e6);
  }

  /** The window as it is now; to be called once nothing is in flight any more. */
  finish(): JobResult {
    if (this.#windowIsOpen) {
      this.now = monotonicMs();
      this.#closeWindow();
    }
    this.#setPhase(Phase.drain);
    this.#publish();
    const stats = newQueueStats();
    for (const key of Object.keys(stats) as (keyof QueueStats)[]) {
      stats[key] = this.#statsAtEnd[key] - this.#statsAtStart[key];
    }
    return {
      jobIndex: this.#plan.jobIndex,
      windowMs: this.#windowEndMs - this.#windowStartMs,
      read: this.#read.snapshot(),
      write: this.#write.snapshot(),
      errors: [...this.#errors],
      stats,
      depth: this.#depth.snapshot(),
      usageAtStart: this.#usageAtStart,
      usageAtEnd: this.#usageAtEnd,
      partial: this.#windowEndMs < this.#endMs && !this.#endedAsPlanned,
      rampIosMissing: this.#rampIosMissing,
      rate: this.#plan.rateIops === null ? null : this.#rate.summary(),
    };
  }

  /** Whether an end before the time is what was asked for. */
  get #endedAsPlanned(): boolean {
    return (this.#isBudgeted && this.#budget === 0) || this.#shared.endedAsPlanned;
  }

  #recordError(errno: number): void {
    this.#errorCount++;
    this.#errors.set(errno, (this.#errors.get(errno) ?? 0) + 1);
  }

  /** By time and number; what never completes does not hold the run up for ever. */
  #isRampOver(nowMs: number): boolean {
    if (nowMs < this.#rampEndMs) return false;
    return this.#read.ios + this.#write.ios >= this.#plan.rampIos || nowMs >= this.#rampLimitMs;
  }

  /** The pass before this one was the first after the ramp: the window begins with it. */
  #openWindow(startMs: number): void {
    this.#rampIosMissing = Math.max(0, this.#plan.rampIos - this.#read.ios - this.#write.ios);
    this.#addTotals(this.#ramp);
    this.#read.reset();
    this.#write.reset();
    this.#rate.reset();
    this.#depth.reset();
    this.#windowStartMs = startMs;
    this.#endMs = startMs + this.#plan.runtimeMs;
    this.#usageAtStart = processUsage();
    this.#statsAtStart = { ...this.#stats };
    this.#setPhase(Phase.measure);
  }

  /** Completions of this pass still count; submissions end. */
  #closeWindow(): void {
    // Stopped during the ramp: what there is of the ramp is the result, and marked partial.
    this.running = this.#windowIsOpen = false;
    this.#windowEndMs = this.now;
    this.#usageAtEnd = processUsage();
    this.#statsAtEnd = { ...this.#stats };
  }

  #nextHousekeeping(): number {
    // Once submissions have ended, the very next pass must be told from this one.
    if (!this.#windowIsOpen) return 0;
    const regular = this.now + HOUSEKEEPING_MS;
    const end = Math.min(regular, this.#endMs);
    return this.#phase === Phase.ramp ? Math.min(end, this.#rampEndMs) : end;
  }

  #setPhase(phase: Phase): void {
    this.#phase = phase;
    this.#shared.setPhase(this.#plan.jobIndex, phase);
  }

  #publish(): void {
    this.#totals.set(this.#ramp);
    this.#addTotals(this.#totals);
    this.#shared.publish(this.#plan.jobIndex, this.#totals, this.#errorCount);
  }

  #addTotals(totals: Float64Array): void {
    addDirection(totals, Total.reads, this.#read);
    addDirection(totals, Total.writes, this.#write);
  }
}

/** A direction's sums stand side by side. */
function addDirection(totals: Float64Array, first: number, { ios, bytes, latency }: DirectionMeter): void {
  totals[first] = totals[first]! + ios;
  totals[first + 1] = totals[first + 1]! + bytes;
  totals[first + 2] = totals[first + 2]! + latency.sumNs;
}

/** What is known of a job whose Worker hangs in the kernel: what it counted, without latencies. */
export function resultWithoutWorker(
  plan: JobPlan,
  live: LiveCounts,
  elapsedMs: number,
  usage: { readonly atStart: ProcessUsage; readonly atEnd: ProcessUsage },
): JobResult {
  const latency = new LatencyCounts().snapshot();
  const direction = (first: number) => ({
    ios: live.totals[first]!,
    bytes: live.totals[first + 1]!,
    shortIos: 0,
    latency,
  });
  const stats = newQueueStats();
  return {
    jobIndex: plan.jobIndex,
    windowMs: elapsedMs,
    read: direction(Total.reads),
    write: direction(Total.writes),
    errors: [],
    stats,
    depth: new DepthCounts(stats).snapshot(),
    usageAtStart: usage.atStart,
    usageAtEnd: usage.atEnd,
    partial: true,
    rampIosMissing: 0,
    rate: null,
  };
}

/** Readings of getrusage(2) for the process. */
export function processUsage(): ProcessUsage {
  const usage = process.resourceUsage();
  return {
    userUs: usage.userCPUTime,
    systemUs: usage.systemCPUTime,
    contextSwitches: usage.voluntaryContextSwitches + usage.involuntaryContextSwitches,
    majorFaults: usage.majorPageFault,
    minorFaults: usage.minorPageFault,
  };
}
