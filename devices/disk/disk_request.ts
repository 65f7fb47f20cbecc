import { Opcode } from "../../core/request/request.ts";
import { SegmentList } from "../guest_memory/mod.ts";

/** What a guest asks of a disk, whatever protocol it speaks. Reused for one request after the other. */
export class DiskRequest {
  /** What is to be done: one of {@link Opcode}, but for `nop`. */
  op: Opcode = Opcode.read;
  /** First byte on the disk. */
  offset = 0;
  /** Bytes on the disk: of the data, or of a range without data. */
  length = 0;
  /** A write or a range of zeroes is done only once it is durable. */
  durable = false;
  /** The data in the guest's memory: where to read to or to write from; empty for what has none. */
  readonly data: SegmentList = new SegmentList();
}

/** Whose requests are executed. */
export interface RequestOwner<Request extends DiskRequest> {
  /** Told once of each request: `result` is 0 for success, else −errno. */
  completed(request: Request, result: number): void;
}
