import { Opcode } from "../../core/request/request.ts";
import type { DiskRequest } from "./disk_request.ts";

/** Requests that are looked at together: VIRTIO_BLK_MAX_MERGE_REQS of QEMU. */
export const MAX_MERGED_REQUESTS = 32;

/** Bounds of one joined run. */
export interface MergeLimits {
  /** Requests collected before they are started. 1 joins nothing. */
  readonly maxRequests: number;
  /** Segments of one run. */
  readonly maxSegments: number;
  /** Bytes of one run. */
  readonly maxBytes: number;
}

/** Starts `count` requests of `requests` from `start` on, contiguous on the disk, as one. */
export type StartRun<Request extends DiskRequest> = (
  requests: readonly Request[],
  start: number,
  count: number,
) => void;

/**
 * Collects reads or writes of one pass for one unit and joins those that are neighbours on the disk, as QEMU's virtio-blk does:
 * sorted by sector, as long as a run stays within the limits.
 */
export class MergeBuffer<Request extends DiskRequest> {
  readonly #limits: MergeLimits;
  readonly #start: StartRun<Request>;
  readonly #requests: Request[] = [];
  #count = 0;
  #growing = false;
  #nextOffset = -1;

  /** Makes an empty buffer that hands its runs to `start`. */
  constructor(limits: MergeLimits, start: StartRun<Request>) {
    this.#limits = limits;
    this.#start = start;
  }

  /** Requests collected. */
  get count(): number {
    return this.#count;
  }

  /** True when writes are waiting: a flush has to come behind them. */
  get holdsWrites(): boolean {
    return this.#count > 0 && this.#requests[0]!.op === Opcode.write;
  }

  /** True when the last request begins where the one before it ends, collected or started: the next may well do so, too. */
  get growing(): boolean {
    return this.#growing;
  }

  /** Adds a read or a write; starts what was collected when it is full or of the other direction. */
  add(request: Request): void {
    if (this.#count > 0 && this.#requests[0]!.op !== request.op) this.flush();
    this.#growing = request.offset === this.#nextOffset && this.#limits.maxRequests > 1;
    this.#nextOffset = request.offset + request.length;
    this.#requests[this.#count++] = request;
    if (this.#count >= this.#limits.maxRequests) this.flush();
  }

  /** Starts everything that was collected. */
  flush(): void {
    const requests = this.#requests;
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    if (count > 1) sortByOffset(requests, count);
    let start = 0;
    let segments = requests[0]!.data.count;
    let bytes = requests[0]!.length;
    for (let index = 1; index < count; index++) {
      const previous = requests[index - 1]!;
      const request = requests[index]!;
      const joins = previous.offset + previous.length === request.offset && previous.durable === request.durable &&
        segments + request.data.count <= this.#limits.maxSegments && bytes + request.length <= this.#limits.maxBytes;
      if (!joins) {
        this.#start(requests, start, index - start);
        start = index;
        segments = bytes = 0;
      }
      segments += request.data.count;
      bytes += request.length;
    }
    this.#start(requests, start, count - start);
  }
}

/** Insertion sort: a few dozen entries, often sorted already, and nothing is allocated. */
function sortByOffset(requests: DiskRequest[], count: number): void {
  for (let index = 1; index < count; index++) {
    const request = requests[index]!;
    let at = index - 1;
    while (at >= 0 && requests[at]!.offset > request.offset) {
      requests[at + 1] = requests[at]!;
      at--;
    }
    requests[at + 1] = request;
  }
}
