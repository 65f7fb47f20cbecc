import type { Backend } from "./backend.ts";
import type { BounceBlock, BounceLine } from "./bounce.ts";
import { startDeadline } from "../base/deadline.ts";
import { Errno } from "../base/errno.ts";
import { StorageError } from "../base/errors.ts";
import { type IoRequest, IoRequest as Request, Opcode, OPCODE_NAMES } from "../request/request.ts";
import { NO_CHOICE, type RequestChoice } from "../request/request_options.ts";
import { type Abortable, Signals, type SignalWatch } from "./abort_signals.ts";
import { copyBytes, lengthOf } from "../base/views.ts";

/** What a finished operation has to give back, and to whom; one for each request in the pool of a promise API. */
export class Operation implements Abortable {
  /** The request that the driver sees. */
  readonly request: IoRequest;
  /** Settles the promise; null when it was settled early. */
  resolve: ((result: number) => void) | null = null;
  /** The other half of `resolve`. */
  reject: ((error: unknown) => void) | null = null;
  /** Block that the data passes through, or null. */
  block: BounceBlock | null = null;
  /** Buffer of the user's that a bounced read is copied to, or null. */
  copyTo: Uint8Array | null = null;
  /** True from the hand-over to the driver to the completion. */
  launched = false;
  /** Ends it when its time is up, or undefined. */
  timer: ReturnType<typeof setTimeout> | undefined = undefined;
  watch: SignalWatch | null = null;
  before: Abortable | null = null;
  after: Abortable | null = null;

  /** Makes an operation whose request completes through `onComplete`. */
  constructor(onComplete: (request: IoRequest, result: number) => void) {
    this.request = new Request(Opcode.read, onComplete);
    this.request.context = this;
  }
}

/** The promise half of a device: a pool of operations, early rejection, copying through bounce blocks. */
export class PromiseQueue {
  readonly #backend: Backend;
  readonly #pool: Operation[] = [];
  readonly #bounce: BounceLine;
  readonly #onComplete = (request: IoRequest, result: number) => this.#complete(request, result);
  readonly #signals = new Signals((operation, reason) => this.#abort(operation as Operation, reason));

  /** Makes the promise API over `backend`; foreign buffers pass through `bounce`. */
  constructor(backend: Backend, bounce: BounceLine) {
    this.#backend = backend;
    this.#bounce = bounce;
  }

  /** An operation that no caller uses, its request idle and without a buffer. */
  take(op: Opcode, offset: number, length: number, flags: number): Operation {
    const operation = this.#pool.pop() ?? new Operation(this.#onComplete);
    const request = operation.request;
    request.op = op;
    request.offset = offset;
    request.length = length;
    request.flags = flags;
    return operation;
  }

  /** Makes the promise of an operation and hands it to the driver. */
  start(operation: Operation, choice: RequestChoice): Promise<number> {
    const promise = this.open(operation, choice);
    this.launch(operation);
    return promise;
  }

  /** Makes the promise of an operation that is launched later; it can be given up from now on. */
  open(operation: Operation, choice: RequestChoice): Promise<number> {
    const promise = new Promise<number>(capture);
    operation.resolve = capturedResolve;
    operation.reject = capturedReject;
    if (choice === NO_CHOICE) return promise;
    const { signal, timeoutMs } = choice;
    if (signal !== null) this.#signals.join(operation, signal);
    if (timeoutMs !== Infinity) operation.timer = startDeadline(() => this.#late(operation, timeoutMs), timeoutMs);
    return promise;
  }

  /** Hands an operation to the driver. */
  launch(operation: Operation): void {
    operation.launched = true;
    this.#backend.enqueue(operation.request);
  }

  /** True when no caller waits for the operation any more. */
  isGivenUp(operation: Operation): boolean {
    return operation.reject === null;
  }

  /** Ends an operation that was never launched; rejects with `error` if the caller still waits. */
  drop(operation: Operation, error: unknown): void {
    const { reject } = operation;
    this.#recycle(operation);
    if (reject !== null) reject(error);
  }

  /**
   * Rejects at once. With the driver, it is asked to cancel and the operation ends when it says so; an operation that
   * waits to be launched is dropped by the line that would launch it.
   */
  giveUp(operation: Operation, error: unknown): void {
    const { reject } = operation;
    if (reject === null) return;
    operation.resolve = null;
    operation.reject = null;
    operation.copyTo = null;
    this.#unwatch(operation);
    reject(error);
    if (operation.launched) this.#backend.cancel(operation.request);
  }

  #abort(operation: Operation, reason: unknown): void {
    this.giveUp(operation, this.error(operation.request, Errno.ECANCELED, "aborted", undefined, reason));
  }

  #late(operation: Operation, timeoutMs: number): void {
    const detail = `no completion within ${timeoutMs} ms`;
    this.giveUp(operation, this.error(operation.request, Errno.ETIMEDOUT, "timeout", detail, undefined));
  }

  #unwatch(operation: Operation): void {
    if (operation.watch !== null) this.#signals.leave(operation);
    if (operation.timer === undefined) return;
    clearTimeout(operation.timer);
    operation.timer = undefined;
  }

  #complete(request: IoRequest, result: number): void {
    const operation = request.context as Operation;
    const { resolve, reject, copyTo, block } = operation;
    let failure: unknown = null;
    if (block !== null) {
      if (copyTo !== null && result >= 0) failure = copyOut(block, copyTo, request.length);
      this.#bounce.release(block);
    }
    this.#recycle(operation);
    if (resolve === null || reject === null) return;
    if (failure !== null) {
      reject(failure);
    } else if (result >= 0) {
      resolve(result);
    } else {
      const said = this.#backend.explain?.(request);
      reject(this.error(request, -result, this.#backend.broken ? "broken" : "io", said?.detail, said?.cause));
    }
  }

  #recycle(operation: Operation): void {
    const { request } = operation;
    this.#unwatch(operation);
    operation.resolve = null;
    operation.reject = null;
    operation.block = null;
    operation.copyTo = null;
    operation.launched = false;
    request.region = null;
    request.iovecs = null;
    request.registeredIndex = -1;
    this.#pool.push(operation);
  }

  /** The error of a request, with what the user needs to find it. */
  error(
    request: IoRequest,
    errno: number,
    kind: "io" | "broken" | "aborted" | "timeout",
    detail: string | undefined,
    cause: unknown,
  ): StorageError {
    const op = OPCODE_NAMES[request.op]!;
    const offset = request.op === Opcode.flush ? undefined : request.offset;
    return new StorageError({ kind, op, target: this.#backend.target, offset, errno, detail, cause });
  }
}

let capturedResolve: (result: number) => void;
let capturedReject: (error: unknown) => void;

/** One executor for all promises: a closure for each would be an allocation for each. */
function capture(resolve: (result: number) => void, reject: (error: unknown) => void): void {
  capturedResolve = resolve;
  capturedReject = reject;
}

/** Copies a bounced read to its user; returns an error when the user's buffer is not there any more. */
function copyOut(block: BounceBlock, copyTo: Uint8Array, length: number): unknown {
  const now = lengthOf(copyTo);
  if (now < length) {
    return new TypeError(
      `Cannot deliver ${length} bytes: the buffer was detached or shrunk to ${now} bytes while a read was in ` +
        "flight; wanted it untouched until the promise settles",
    );
  }
  const start = block.byteOffset;
  copyBytes(copyTo, block.memory.bytes.subarray(start, start + length), 0);
  return null;
}
