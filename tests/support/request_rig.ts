/**
 * What the rigs of all queues share: requests with memory of their own, and everything that came back.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DEFERRED_SUBMITS } from "../../core/queue/deferred_submit.ts";
import { plugCall } from "../../core/plug/plug.ts";
import type { CompletionLoop } from "../../core/queue/completion_loop.ts";
import { IoRequest, Opcode } from "../../core/request/request.ts";
import type { QueueOwner } from "../../core/queue/queue_owner.ts";
import type { RequestQueue } from "../../core/queue/request_queue.ts";
import type { HeapMemory } from "../../drivers/memory/heap_memory.ts";
import { FakeMemorySource } from "./fake_memory.ts";

/** One completion as the caller saw it. */
export interface Outcome {
  readonly request: IoRequest;
  readonly result: number;
}

/** Numbers of a queue. */
export interface QueueState {
  readonly queued: number;
  readonly waiting: number;
  readonly inflight: number;
  readonly blocked: boolean;
}

/** A queue under test on a fake kernel. */
export abstract class RequestRig<Owner extends QueueOwner> implements Disposable {
  abstract readonly queue: RequestQueue;
  abstract readonly completionLoop: CompletionLoop | null;
  /** The file of requests that name no other. */
  abstract readonly file: Owner;
  readonly memory: FakeMemorySource = new FakeMemorySource();
  /** Every callback so far. */
  readonly outcomes: Outcome[] = [];
  /** Called by every callback, after it was recorded. */
  onEach: ((request: IoRequest, result: number) => void) | null = null;

  /** Completes everything that the kernel has; does not reap. */
  protected abstract completeAll(): void;

  /** Results in order of completion. */
  get results(): number[] {
    return this.outcomes.map(({ result }) => result);
  }

  /** Numbers of the queue. */
  get state(): QueueState {
    return this.queue.snapshot() as unknown as QueueState;
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
  send(request: IoRequest, file: Owner = this.file): IoRequest {
    this.queue.enqueue(request, file);
    plugCall(DEFERRED_SUBMITS.plug, this.queue);
    return request;
  }

  /** Sends `count` reads of one page each, one after the other. */
  sendReads(count: number, file: Owner = this.file): IoRequest[] {
    return Array.from({ length: count }, (_, index) => this.send(this.request("read", index * 4096), file));
  }

  /** The memory of a request. */
  bytesOf(request: IoRequest): Uint8Array<ArrayBuffer> {
    return (request.region as HeapMemory).bytes;
  }

  /** Completes and delivers until nothing is owed, and checks that nothing is left anywhere. */
  drain(): void {
    for (let rounds = 0; this.queue.active() > 0 && rounds < 1000; rounds++) {
      this.completeAll();
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
    this.completionLoop?.stop();
  }
}
