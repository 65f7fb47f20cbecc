import { type BlockDevice, type IoRequest, Opcode, plug, unplug } from "../../mod.ts";
import type { Meter } from "./meter.ts";
import type { Pattern, Workload } from "./pattern.ts";
import type { WriteSource } from "./write_source.ts";
import type { JobPlan } from "./plan.ts";

/**
 * Keeps `ioDepth` requests in flight through the callback API: each completion chooses the next block and submits
 * the same request again. Nothing is allocated between the first submission and the last completion.
 */
export class CallbackJob {
  readonly #device: BlockDevice;
  readonly #plan: JobPlan;
  readonly #pattern: Pattern;
  readonly #writes: WriteSource | null;
  readonly #requests: readonly IoRequest[];
  #inFlight = 0;
  #reapPasses = 0;
  #onDrained: (() => void) | null = null;
  /** Of the run; set first thing by it. */
  #meter!: Meter;

  /** Prepares the requests; nothing is submitted yet. */
  constructor(device: BlockDevice, plan: JobPlan, { buffers, pattern, writes }: Workload) {
    this.#device = device;
    this.#plan = plan;
    this.#pattern = pattern;
    this.#writes = writes;
    const onComplete = (request: IoRequest, result: number) => this.#complete(request, result);
    this.#requests = buffers.map((buffer, index) =>
      device.createRequest({ op: "read", buffer, length: plan.range.blockBytes, context: index, onComplete })
    );
  }

  /** Runs until the time is up or the stop flag is set, and until nothing is in flight any more. */
  async run(meter: Meter): Promise<void> {
    this.#meter = meter;
    if (this.#plan.wait === "block") {
      this.#start();
      // Comes back when nothing is in flight any more: completions stop submitting once the time is up.
      this.#device.run(never, this.#plan.batchCompleteMin);
      return;
    }
    await new Promise<void>((resolve) => {
      this.#onDrained = resolve;
      this.#start();
    });
  }

  #start(): void {
    this.#reapPasses = this.#device.stats.reapPasses;
    plug();
    try {
      for (const request of this.#requests) {
        if (this.#meter.running) this.#submit(request, request.context as number);
      }
    } finally {
      unplug();
    }
  }

  #submit(request: IoRequest, index: number): void {
    const isWrite = this.#pattern.nextIsWrite();
    request.op = isWrite ? Opcode.write : Opcode.read;
    request.offset = this.#pattern.offsets.next(isWrite);
    if (isWrite) this.#writes!.stamp(index, request.offset);
    this.#meter.submit(index);
    this.#inFlight++;
    this.#device.submit(request);
  }

  #complete(request: IoRequest, result: number): void {
    const meter = this.#meter;
    const reapPasses = this.#device.stats.reapPasses;
    // What fails without reaching the kernel is in no pass; the clock must go on nevertheless.
    if (reapPasses !== this.#reapPasses || result < 0) {
      this.#reapPasses = reapPasses;
      meter.startPass();
    }
    const index = request.context as number;
    const isWrite = request.op === Opcode.write;
    meter.record(isWrite, result, index);
    // A broken device fails everything at once, for as long as it is asked.
    if (result < 0 && this.#device.broken) meter.running = false;
    if (isWrite) this.#writes!.ended(index, result);
    this.#inFlight--;
    if (meter.running) this.#submit(request, index);
    else if (this.#inFlight === 0) this.#onDrained?.();
  }
}

function never(): boolean {
  return false;
}
