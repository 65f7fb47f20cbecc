import type { BlockDevice } from "../../mod.ts";
import { failureResult } from "./failure_result.ts";
import type { Meter } from "./meter.ts";
import type { Pattern, Workload } from "./pattern.ts";
import type { WriteSource } from "./write_source.ts";
import type { JobPlan } from "./plan.ts";

/** Keeps `ioDepth` loops going through the promise API, each awaiting one I/O after another. */
export class PromiseJob {
  readonly #device: BlockDevice;
  readonly #pattern: Pattern;
  readonly #writes: WriteSource | null;
  readonly #buffers: readonly Uint8Array<ArrayBuffer>[];
  #reapPasses: number;
  /** Of the run; set first thing by it. */
  #meter!: Meter;

  /** Prepares the buffers; nothing is submitted yet. */
  constructor(device: BlockDevice, _plan: JobPlan, { buffers, pattern, writes }: Workload) {
    this.#device = device;
    this.#pattern = pattern;
    this.#buffers = buffers;
    this.#writes = writes;
    this.#reapPasses = device.stats.reapPasses;
  }

  /** Runs until the time is up or the stop flag is set, and until nothing is in flight any more. */
  async run(meter: Meter): Promise<void> {
    this.#meter = meter;
    await Promise.all(this.#buffers.map((buffer, index) => this.#loop(buffer, index)));
  }

  async #loop(buffer: Uint8Array<ArrayBuffer>, index: number): Promise<void> {
    const meter = this.#meter;
    while (meter.running) {
      const isWrite = this.#pattern.nextIsWrite();
      const offset = this.#pattern.offsets.next(isWrite);
      if (isWrite) this.#writes!.stamp(index, offset);
      meter.submit(index);
      let result: number;
      // Awaited right here: an async function around it would cost another promise for each I/O.
      try {
        result = await (isWrite ? this.#device.write(buffer, offset) : this.#device.read(buffer, offset));
      } catch (error) {
        result = failureResult(error);
      }
      const reapPasses = this.#device.stats.reapPasses;
      // What fails without reaching the kernel is in no pass; the clock must go on nevertheless.
      if (reapPasses !== this.#reapPasses || result < 0) {
        this.#reapPasses = reapPasses;
        meter.startPass();
      }
      meter.record(isWrite, result, index);
      if (isWrite) this.#writes!.ended(index, result);
    }
  }
}
