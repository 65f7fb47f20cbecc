import type { CopyPool } from "./copy_pool.ts";
import type { DiskFacts } from "./disk_facts.ts";
import { ErrorLog } from "./error_log.ts";
import { MAX_MERGED_REQUESTS, type MergeLimits } from "./merge.ts";
import { RangeLocks } from "./range_locks.ts";
import { MAX_RUN_SEGMENTS } from "./run.ts";
import type { ServedDevice } from "./served.ts";
import type { DiskStats } from "./stats.ts";

/** Bytes of one joined run: large enough for any disk, small enough for its answer not to wait for long. */
const MAX_RUN_BYTES = 1024 * 1024;

/** How a unit is served. */
export interface DiskUnitOptions {
  /** Bytes of the guest's blocks; those of the device may be larger. */
  readonly blockBytes: number;
  /** Join neighbouring requests. */
  readonly merge: boolean;
  /**
   * A discard that the device turns out not to know is left out, and zeroes that it cannot make are written. False: their
   * errno is the result, EINVAL as well.
   */
  readonly coversUnknown: boolean;
  /** Bounds what is copied, for all units of the Worker together. */
  readonly copyPool: CopyPool;
  /** Counters of the Worker. */
  readonly stats: DiskStats;
  /** Receives a line for what fails, and for what the device turns out not to know. */
  readonly log?: (line: string) => void;
}

/** A disk as the guest sees it, over one open device of one Worker: what the queues of that Worker share of it. */
export class DiskUnit {
  /** The device behind it. */
  readonly device: ServedDevice;
  /** What is known of the device. */
  readonly facts: DiskFacts;
  /** Told of what fails and of what is refused. */
  readonly errors: ErrorLog;
  /** Bounds of joined runs. */
  readonly mergeLimits: MergeLimits;
  /** Bounds what is copied. */
  readonly copyPool: CopyPool;
  /** Counters. */
  readonly stats: DiskStats;
  /** Requests that were started and are not done. */
  inFlight = 0;
  /** Of those, the ones that go on in microtasks: the thread may not block while there are some. */
  copying = 0;

  /** Serves `device`, which stays the caller's, and open for as long as requests are in flight. */
  constructor(device: ServedDevice, options: DiskUnitOptions) {
    const { blockBytes, coversUnknown, log = () => {} } = options;
    const writesParts = !device.info.readOnly && device.alignment.offset > blockBytes;
    this.device = device;
    this.facts = { locks: writesParts ? new RangeLocks() : null, coversUnknown, discards: true, zeroes: true, log };
    this.errors = new ErrorLog(options.log ?? null);
    this.mergeLimits = {
      maxRequests: options.merge ? MAX_MERGED_REQUESTS : 1,
      maxSegments: MAX_RUN_SEGMENTS,
      maxBytes: MAX_RUN_BYTES,
    };
    this.copyPool = options.copyPool;
    this.stats = options.stats;
  }

  /** Submits and delivers what the device has completed; returns how many. A closed device has done so, or does it by itself. */
  poll(): number {
    try {
      return this.device.poll();
    } catch {
      return 0;
    }
  }

  /** Parts of blocks are locked in this memory from now on, which the other Workers of the disk have as well. */
  shareLocks(memory: SharedArrayBuffer): void {
    this.facts.locks?.share(memory);
  }

  /** Tells what failed and was not told yet: at the end. */
  endLog(): void {
    this.errors.end();
  }
}

/**
 * Bytes of a disk that a guest of blocks of `blockBytes` is shown: whole blocks, of the guest and of the device, which could
 * not write a part of one at the end without making a file longer.
 */
export function shownBytes({ size, alignment }: Pick<ServedDevice, "size" | "alignment">, blockBytes: number): number {
  return size - size % Math.max(blockBytes, alignment.offset);
}
