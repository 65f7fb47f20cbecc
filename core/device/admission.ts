import type { Alignment, TargetInfo } from "../base/block.ts";
import { Errno } from "../base/errno.ts";
import { StorageError } from "../base/errors.ts";
import { type Opcode, OPCODE_NAMES } from "../request/request.ts";
import { rangeError, type RangeRules } from "./check.ts";

/** Whether an operation changes the target, by opcode. */
const WRITES: readonly boolean[] = [false, true, false, true, true, false];

/** What a device takes: decides, for both of its APIs, before anything is queued. */
export class Admission implements RangeRules {
  readonly target: string;
  readonly alignment: Alignment;
  readonly #readOnly: boolean;
  #isClosed = false;

  /** Admits everything that suits `info`, until `close`. */
  constructor(target: string, { alignment, readOnly }: TargetInfo) {
    this.target = target;
    this.alignment = alignment;
    this.#readOnly = readOnly;
  }

  /** Admits nothing from now on. */
  close(): void {
    this.#isClosed = true;
  }

  /** The reason why a request cannot be taken at all, or null. */
  refusal(op: Opcode, offset: number, length: number): Error | null {
    if (this.#isClosed || (this.#readOnly && WRITES[op]!)) return this.#error(OPCODE_NAMES[op]!);
    return rangeError(OPCODE_NAMES[op]!, offset, length, this);
  }

  /** Throws where the device is closed; `method` is what the caller wants. */
  assertOpen(method: string): void {
    if (this.#isClosed) throw this.closedError(method);
  }

  /** Throws where the device is closed or cannot be written to. */
  assertWritable(method: string): void {
    if (this.#isClosed || this.#readOnly) throw this.#error(method);
  }

  /** The error of a device that is closed. */
  closedError(op: string): StorageError {
    const detail = "BlockDevice is closed; wanted an open device";
    return new StorageError({ kind: "closed", op, target: this.target, detail });
  }

  #error(op: string): StorageError {
    if (this.#isClosed) return this.closedError(op);
    const detail = "the device is open read-only; wanted readOnly: false";
    return new StorageError({ kind: "unsupported", op, target: this.target, errno: Errno.EROFS, detail });
  }
}
