/** A queue over IoUringEngine on a fake kernel, and everything that came back from it. */
import { CompletionLoop } from "../../../core/queue/completion_loop.ts";
import { RequestQueue } from "../../../core/queue/request_queue.ts";
import { IoUringEngine, maxInflightOf } from "../../../drivers/io_uring/engine.ts";
import type { QueueFile } from "../../../drivers/io_uring/sqe.ts";
import { URING_CONSTANTS as U } from "../../../ffi/liburing/mod.ts";
import { FakeRing, type FakeRingOptions, type FakeSqe, fullResult } from "../../support/fake_ring.ts";
import { RequestRig } from "../../support/request_rig.ts";
import { LURING_EVENTS } from "../../../drivers/io_uring/trace.ts";

/** Operation codes, short. */
export const OP = {
  read: U.IORING_OP_READ.value,
  write: U.IORING_OP_WRITE.value,
  readv: U.IORING_OP_READV.value,
  readFixed: U.IORING_OP_READ_FIXED.value,
  fsync: U.IORING_OP_FSYNC.value,
  cancel: U.IORING_OP_ASYNC_CANCEL.value,
  fallocate: U.IORING_OP_FALLOCATE.value,
  command: U.IORING_OP_URING_CMD.value,
  nop: U.IORING_OP_NOP.value,
} as const;

/** How a rig is set up. */
export interface RigOptions extends FakeRingOptions {
  readonly maxInflight?: number;
  /** Submits happen in the wait that follows: wait mode `block`. */
  readonly lazy?: boolean;
  /** Deliveries by a completionLoop, as in a Worker; otherwise the test calls `reap`. */
  readonly pumped?: boolean;
}

/** A queue under test. */
export class Rig extends RequestRig<QueueFile> {
  readonly ring: FakeRing;
  readonly engine: IoUringEngine;
  readonly queue: RequestQueue;
  readonly completionLoop: CompletionLoop | null;
  readonly file: QueueFile = newFile(7);

  constructor({ maxInflight = 1024, lazy = false, pumped = false, ...ring }: RigOptions = {}) {
    super();
    this.ring = new FakeRing(ring);
    this.engine = new IoUringEngine(this.ring);
    this.queue = new RequestQueue(this.engine, {
      maxInflight: maxInflightOf(this.ring, maxInflight),
      events: LURING_EVENTS,
      lazy,
    });
    this.completionLoop = pumped ? new CompletionLoop(this.queue, lazy ? "block" : "event", null) : null;
    this.queue.disarm();
    if (this.completionLoop === null) return;
    this.queue.observe(this.completionLoop);
    // The event loop's wake-up is a macrotask of its own, never a call from inside the kernel.
    const { completionLoop } = this;
    this.ring.onEvent = () => void setTimeout(() => completionLoop.woken(), 0);
  }

  /** Completes one pending entry, by default the oldest and in full; does not reap. */
  complete(result?: number, sqe: FakeSqe = this.ring.pending[0]!): void {
    this.ring.complete(sqe, result ?? fullResult(sqe));
  }

  protected completeAll(): void {
    this.ring.completeAll();
  }
}

/** A file of a queue. */
export function newFile(fileRef: number, isDevice = false): QueueFile {
  return {
    fileRef,
    fileFlags: 0,
    isDevice,
    discardMethod: isDevice ? "command" : "punch",
    zeroMethod: "zero range",
    growTo: () => 0,
    attemptLimits: null,
    active: 0,
    onIdle: null,
  };
}
