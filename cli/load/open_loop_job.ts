import { type BlockDevice, type IoRequest, Opcode, plug, unplug } from "../../mod.ts";
import type { Meter } from "./meter.ts";
import type { Pattern, Workload } from "./pattern.ts";
import type { WriteSource } from "./write_source.ts";
import type { JobPlan } from "./plan.ts";

/** A gap to the next start below this is waited for by looking at the clock: a sleep may last that much longer. */
const SPIN_BELOW_MS = 1;

/** Longest sleep, so that the stop flag is seen. */
const MAX_SLEEP_MS = 10;

/**
 * Starts I/Os by the clock, whether or not earlier ones are complete ("open loop"), up to `ioDepth` in flight. An I/O that
 * finds no free slot starts late, and its latency counts from when it should have started: a target that stalls cannot
 * hide that by slowing down the question.
 *
 * The Worker looks at clock and queue in turns while I/O is in flight, which takes a whole core.
 */
export class OpenLoopJob {
  readonly #device: BlockDevice;
  readonly #pattern: Pattern;
  readonly #writes: WriteSource | null;
  readonly #intervalMs: number;
  readonly #requests: readonly IoRequest[];
  /** Slots without an I/O, a stack. */
  readonly #free: Int32Array;
  #freeCount: number;
  #started = 0;
  #startMs = 0;
  #passSeen = false;
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));
  /** Of the run; set first thing by it. */
  #meter!: Meter;

  /** Prepares the requests; nothing is submitted yet. */
  constructor(device: BlockDevice, plan: JobPlan, { buffers, pattern, writes }: Workload) {
    this.#device = device;
    this.#pattern = pattern;
    this.#writes = writes;
    this.#intervalMs = 1000 / plan.rateIops!;
    this.#free = Int32Array.from(buffers.keys()).reverse();
    this.#freeCount = buffers.length;
    const onComplete = (request: IoRequest, result: number) => this.#complete(request, result);
    this.#requests = buffers.map((buffer, index) =>
      device.createRequest({ op: "read", buffer, length: plan.range.blockBytes, context: index, onComplete })
    );
  }

  /** Runs until the time is up or the stop flag is set, and until nothing is in flight any more. */
  run(meter: Meter): Promise<void> {
    this.#meter = meter;
    this.#startMs = meter.now;
    for (;;) {
      meter.startPass();
      if (meter.running) this.#startDue();
      this.#passSeen = false;
      this.#device.poll();
      if (this.#freeCount < this.#requests.length) continue;
      if (!meter.running) {
        meter.leaveDue(this.#nextMs(), this.#intervalMs);
        return Promise.resolve();
      }
      this.#sleep(this.#nextMs() - meter.now);
    }
  }

  #nextMs(): number {
    return this.#startMs + this.#started * this.#intervalMs;
  }

  #startDue(): void {
    const meter = this.#meter;
    if (this.#freeCount === 0 || this.#nextMs() > meter.now) return;
    plug();
    try {
      while (meter.running && this.#freeCount > 0 && this.#nextMs() <= meter.now) this.#submit();
    } finally {
      unplug();
    }
  }

  #submit(): void {
    const index = this.#free[--this.#freeCount]!;
    const request = this.#requests[index]!;
    const isWrite = this.#pattern.nextIsWrite();
    request.op = isWrite ? Opcode.write : Opcode.read;
    request.offset = this.#pattern.offsets.next(isWrite);
    if (isWrite) this.#writes!.stamp(index, request.offset);
    this.#meter.submitAt(index, this.#nextMs());
    this.#started++;
    this.#device.submit(request);
  }

  #complete(request: IoRequest, result: number): void {
    const meter = this.#meter;
    if (!this.#passSeen) {
      this.#passSeen = true;
      meter.startPass();
    }
    const index = request.context as number;
    const isWrite = request.op === Opcode.write;
    meter.record(isWrite, result, index);
    // A broken device fails everything at once, for as long as it is asked.
    if (result < 0 && this.#device.broken) meter.running = false;
    if (isWrite) this.#writes!.ended(index, result);
    this.#free[this.#freeCount++] = index;
  }

  #sleep(leftMs: number): void {
    if (leftMs > SPIN_BELOW_MS) Atomics.wait(this.#sleeper, 0, 0, Math.min(leftMs - SPIN_BELOW_MS, MAX_SLEEP_MS));
  }
}
