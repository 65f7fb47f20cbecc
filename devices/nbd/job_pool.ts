import type { BlockDevice } from "../../core/device/block_device.ts";
import { plugCall } from "../../core/plug/plug.ts";
import { Job } from "./job.ts";

/** Sizes of the memory of one job, in bytes, and how many are made at a time. */
const CLASSES: readonly (readonly [byteLength: number, atOnce: number])[] = [
  [4096, 32],
  [16_384, 16],
  [65_536, 8],
  [262_144, 4],
  [1_048_576, 1],
  [4_194_304, 1],
  [33_554_432, 1],
];

/** Bytes of payload of the longest request. */
export const MAX_PAYLOAD_BYTES: number = CLASSES.at(-1)![0];

/** Memory for payloads of all clients together. What does not fit waits. */
const MAX_POOL_BYTES = 256 * 1024 * 1024;

/** Who found no memory. */
interface JobWaiter {
  goOn(): void;
}

function goOn(waiter: JobWaiter): void {
  waiter.goOn();
}

/** Jobs of some size that wait for their next request. */
interface JobClass {
  readonly byteLength: number;
  readonly atOnce: number;
  readonly idle: Job[];
}

/** The jobs of a server, by the size of their memory: made when they are needed, and kept. */
export class JobPool {
  readonly #device: BlockDevice;
  readonly #classes: readonly JobClass[] = CLASSES.map(([byteLength, atOnce]) => ({ byteLength, atOnce, idle: [] }));
  /** For requests without a payload. */
  readonly #plain: Job[] = [];
  readonly #waiting = new Set<JobWaiter>();
  #allocatedBytes = 0;

  /** Makes an empty pool on `device`. */
  constructor(device: BlockDevice) {
    this.#device = device;
  }

  /** A job with at least `byteLength` bytes of memory, or null while there is none. */
  take(byteLength: number): Job | null {
    if (byteLength === 0) return this.#plain.pop() ?? new Job(this.#device, NOTHING);
    const found = this.#classOf(byteLength);
    return found.idle.pop() ?? (this.#grow(found) ? found.idle.pop()! : null);
  }

  /** Takes a job back. */
  give(job: Job): void {
    job.owner = null;
    if (job.buffer.length === 0) this.#plain.push(job);
    else this.#classOf(job.buffer.length).idle.push(job);
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter);
      plugCall(goOn, waiter);
    }
  }

  /** Tells `waiter` once when there is memory again. */
  waitFor(waiter: JobWaiter): void {
    this.#waiting.add(waiter);
  }

  #classOf(byteLength: number): JobClass {
    return this.#classes.find((each) => each.byteLength >= byteLength)!;
  }

  #grow(into: JobClass): boolean {
    const bytes = into.byteLength * into.atOnce;
    if (this.#allocatedBytes + bytes > MAX_POOL_BYTES) this.#release();
    if (this.#allocatedBytes + bytes > MAX_POOL_BYTES) return false;
    const buffers = this.#device.allocate(into.atOnce, into.byteLength);
    this.#allocatedBytes += bytes;
    for (const buffer of buffers) into.idle.push(new Job(this.#device, buffer));
    return true;
  }

  /** Gives idle memory back that is a mapping of its own: the large ones. */
  #release(): void {
    for (const { byteLength, atOnce, idle } of this.#classes) {
      if (atOnce > 1) continue;
      for (const job of idle.splice(0)) {
        this.#device.release([job.buffer]);
        this.#allocatedBytes -= byteLength;
      }
    }
  }
}

const NOTHING = new Uint8Array(0);
