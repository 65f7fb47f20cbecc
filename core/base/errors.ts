import { describeErrno, errnoName } from "./errno.ts";
import { printable, shown } from "./shown.ts";

/** What went wrong, coarsely: the part of a {@link StorageError} that a program branches on. */
export type StorageErrorKind =
  /** The target cannot be opened or is not what the driver serves. */
  | "open"
  /** The kernel or the device answered a request with an error. */
  | "io"
  /** The request was given up because its `AbortSignal` fired. */
  | "aborted"
  /** The request was given up because its `timeoutMs` ran out. */
  | "timeout"
  /** The device, queue or memory is closed or closing. */
  | "closed"
  /** The device is broken: no request can succeed any more. */
  | "broken"
  /** Teardown ran out of time; memory and queue were leaked on purpose. */
  | "undrained"
  /** A shared library is missing, too old or refused. */
  | "library"
  /** This kernel, library or target cannot do what was asked. */
  | "unsupported"
  /** A bounded resource (locked memory, queue, pool, processes) is used up. */
  | "resource";

/** The fields of a {@link StorageError}. */
export interface StorageErrorFields {
  /** What went wrong, coarsely. */
  readonly kind: StorageErrorKind;
  /** The action that failed, such as `"read"`, `"open"` or `"io_uring_setup"`. */
  readonly op: string;
  /** The path, address or library the action was for. */
  readonly target: string;
  /** Byte offset of the request, where there is one. */
  readonly offset?: number | undefined;
  /** Positive errno, or 0 where no system call answered. */
  readonly errno?: number | undefined;
  /** What the user wants to know beyond the errno: the value and the wanted state. */
  readonly detail?: string | undefined;
  /** The error underneath. */
  readonly cause?: unknown;
}

/**
 * The one error of every driver and device.
 *
 * Mistakes in arguments are `TypeError` or `RangeError`; broken contracts are `InvariantError`.
 *
 * @example
 * ```ts
 * import { StorageError } from "./errors.ts";
 *
 * const error = new StorageError({ kind: "io", op: "read", target: "/dev/sda", offset: 4096, errno: 5 });
 * console.assert(error.errnoName === "EIO");
 * ```
 */
export class StorageError extends Error {
  /** Always `"StorageError"`. */
  override readonly name = "StorageError";
  /** What went wrong, coarsely. */
  readonly kind: StorageErrorKind;
  /** The action that failed. */
  readonly op: string;
  /** The path, address or library the action was for. */
  readonly target: string;
  /** Byte offset of the request, where there is one. */
  readonly offset: number | undefined;
  /** Positive errno, or 0 where no system call answered. */
  readonly errno: number;
  /** `"EIO"` and so on, or `""` where `errno` is 0. */
  readonly errnoName: string;

  /** Builds the error and its one-line message from its fields. */
  constructor(fields: StorageErrorFields) {
    super(storageErrorMessage(fields), fields.cause === undefined ? {} : { cause: fields.cause });
    this.kind = fields.kind;
    this.op = fields.op;
    this.target = fields.target;
    this.offset = fields.offset;
    this.errno = fields.errno ?? 0;
    this.errnoName = this.errno === 0 ? "" : errnoName(this.errno);
  }
}

function storageErrorMessage(fields: StorageErrorFields): string {
  if (typeof fields !== "object" || fields === null) {
    throw new TypeError(`Cannot make a StorageError of ${shown(fields)}: wanted an object of its fields`);
  }
  const at = fields.offset === undefined ? "" : ` at offset ${fields.offset}`;
  const errno = fields.errno ? `: ${describeErrno(fields.errno)}` : "";
  const detail = fields.detail ? `: ${fields.detail}` : "";
  return printable(`Cannot ${fields.op} ${fields.target}${at}${errno}${detail}`);
}
