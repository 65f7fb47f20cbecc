/** An IoUringQueue on a fake kernel, and everything that came back from it. */
import assert from "node:assert/strict";
import { plugCall } from "../../../core/plug.ts";
import { CompletionPump } from "../../../core/pump.ts";
import { IoRequest, Opcode } from "../../../core/request.ts";
import { DEFERRED_SUBMITS } from "../../../core/deferred.ts";
import { IoUringQueue } from "../../../drivers/io_uring/queue.ts";
import type { QueueFile } from "../../../drivers/io_uring/sqe.ts";
import { URING_CONSTANTS as U } from "../../../ffi/liburing/mod.ts";
import type { HeapMemory } from "../../../drivers/memory/heap_memory.ts";
import { FakeMemorySource } from "../../support/fake_memory.ts";
import { FakeRing, type FakeRingOptions, type FakeSqe, fullResult } from "../../support/fake_ring.ts";

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
  /** Deliveries by a pump, as in a Worker; otherwise the test calls `reap`. */
  readonly pumped?: boolean;
}

/** One completion as the caller saw it. */
export interface Outcome {
  readonly request: IoRequest;
  readonly result: number;
}

/** A queue under test. */
export class Rig implements Disposable {
  readonly ring: FakeRing;
  readonly queue: IoUringQueue;
  readonly pump: CompletionPump | null;
  readonly file: QueueFile = newFile(7);
  readonly memory: FakeMemorySource = new FakeMemorySource();
  /** Every callback so far. */
  readonly outcomes: Outcome[] = [];
  /** Called by every callback, after it was recorded. */
  onEach: ((request: IoRequest, result: number) => void) | null = null;

  constructor({ maxInflight = 1024, lazy = false, pumped = false, ...ring }: RigOptions = {}) {
    this.ring = new FakeRing(ring);
    this.queue = new IoUringQueue(this.ring, maxInflight, lazy);
    this.pump = pumped ? new CompletionPump(this.queue, lazy ? "block" : "event", null) : null;
    this.queue.disarm();
    if (this.pump === null) return;
    this.queue.observe(this.pump);
    // The event loop's wake-up is a macrotask of its own, never a call from inside the kernel.
    const { pump } = this;
    this.ring.onEvent = () => void setTimeout(() => pump.woken(), 0);
  }

  /** Results in order of completion. */
  get results(): number[] {
    return this.outcomes.map(({ result }) => result);
  }

  /** Numbers of the queue. */
  get state(): { queued: number; waiting: number; inflight: number; blocked: boolean } {
    return this.queue.snapshot() as { queued: number; waiting: number; inflight: number; blocked: boolean };
  }

  /** A request with memory of its own where it needs some. */
  request(op: keyof typeof Opcode, offset = 0, length = 4096): IoRequest {
    const request = new IoRequest(Opcode[op], (done, result) => {
      this.outcomes.push({ request: done, result });
      this.onEach?.(done, result);
    });
    request.offset = offset;
    request.length = length;
    if (request.op <= Opcode.write) {
      const memory = this.memory.allocate(Math.max(1, length));
      request.region = memory;
      request.addressLow = memory.addressLow;
      request.addressHigh = memory.addressHigh;
    }
    return request;
  }

  /** Enqueues and submits as a device in batching mode `plug` does. */
  send(request: IoRequest, file: QueueFile = this.file): IoRequest {
    this.queue.enqueue(request, file);
    plugCall(DEFERRED_SUBMITS.plug, this.queue);
    return request;
  }

  /** Sends `count` reads of one page each, one after the other. */
  sendReads(count: number): IoRequest[] {
    return Array.from({ length: count }, (_, index) => this.send(this.request("read", index * 4096)));
  }

  /** Completes one pending entry, by default the oldest and in full; does not reap. */
  complete(result?: number, sqe: FakeSqe = this.ring.pending[0]!): void {
    this.ring.complete(sqe, result ?? fullResult(sqe));
  }

  /** The memory of a request. */
  bytesOf(request: IoRequest): Uint8Array<ArrayBuffer> {
    return (request.region as HeapMemory).bytes;
  }

  /** Completes and delivers until nothing is owed, and checks that nothing is left anywhere. */
  drain(): void {
    for (let rounds = 0; this.queue.active() > 0 && rounds < 1000; rounds++) {
      this.ring.completeAll();
      this.queue.reap();
    }
    this.assertEmpty();
  }

  /** Nothing queued, waiting, in flight, owed or held. */
  assertEmpty(): void {
    const { queued, waiting, inflight } = this.state;
    assert.deepEqual({ queued, waiting, inflight }, { queued: 0, waiting: 0, inflight: 0 });
    assert.equal(this.queue.active(), 0);
    assert.equal(this.file.active, 0);
    for (const memory of this.memory.all) assert.equal(memory.holds, 0);
    assert.equal(this.queue.stats.completions, this.queue.stats.requests);
  }

  /** No timer is left behind. */
  [Symbol.dispose](): void {
    this.queue.stop();
    this.pump?.stop();
  }
}

/** A file of a queue. */
export function newFile(fileRef: number, isDevice = false): QueueFile {
  return {
    fileRef,
    fileFlags: 0,
    isDevice,
    discardWay: isDevice ? "command" : "punch",
    zeroWay: "zero range",
    growTo: () => 0,
    active: 0,
    onIdle: null,
  };
}
