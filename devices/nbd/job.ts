import type { BlockDevice } from "../../core/device/block_device.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { Answered } from "../../core/nbd/reply.ts";

/** Told when the disk has carried out a job: bytes or −errno. */
export interface JobOwner {
  completed(job: Job, result: number): void;
}

/** One request of a client on its way through the disk, with the memory of its payload; used for one after the other. */
export class Job implements Answered {
  /** Memory of the payload; empty where there is none. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** Whose request it is now. */
  owner: JobOwner | null = null;
  high = 0;
  low = 0;
  offset = 0;
  length = 0;
  /** Command of the request. */
  command = 0;
  /** A write is to be durable when it is answered. */
  isDurable = false;
  /** Zeroes are made by a hole. */
  punches = false;
  /** What the request is answered with once its payload has been thrown away; 0 for a good one. */
  errno = 0;
  readonly #device: BlockDevice;
  readonly #requests: Partial<Record<JobOp, IoRequest>> = {};

  /** Makes a job on `device`, which `buffer` is of. */
  constructor(device: BlockDevice, buffer: Uint8Array<ArrayBuffer>) {
    this.#device = device;
    this.buffer = buffer;
  }

  /** Halves of the address of the payload's memory. */
  get address(): Pick<IoRequest, "addressLow" | "addressHigh"> {
    return this.#request("read");
  }

  /** Hands the request to the disk: `owner` is told in the end. Throws for a range that the disk does not take. */
  start(op: JobOp, flags: number): void {
    const request = this.#request(op);
    request.offset = this.offset;
    request.length = op === "flush" ? 0 : this.length;
    request.flags = flags;
    this.#device.submit(request);
  }

  #request(op: JobOp): IoRequest {
    return this.#requests[op] ??= this.#device.createRequest({
      op,
      onComplete: (_request, result) => this.owner!.completed(this, result),
      ...op === "read" || op === "write" ? { buffer: this.buffer } : { length: 0 },
    });
  }
}

/** What a disk is asked. */
export type JobOp = "read" | "write" | "flush" | "discard" | "writeZeroes";
