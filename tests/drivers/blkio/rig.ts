/** A queue over BlkioEngine on a scripted queue of libblkio, and everything that came back from it. */
import assert from "node:assert/strict";
import { DEFERRED_SUBMITS } from "../../../core/queue/deferred_submit.ts";
import { plugCall } from "../../../core/plug/plug.ts";
import { CompletionLoop } from "../../../core/queue/completion_loop.ts";
import { IoRequest, Opcode } from "../../../core/request/request.ts";
import type { QueueOwner } from "../../../core/queue/queue_owner.ts";
import { RequestQueue } from "../../../core/queue/request_queue.ts";
import type { Disk } from "../../../drivers/blkio/disk.ts";
import { attemptLimitsOf } from "../../../drivers/blkio/disk.ts";
import { BlkioEngine } from "../../../drivers/blkio/engine.ts";
import { FakePort } from "../../support/fake_blkio.ts";
import { FakeMemorySource } from "../../support/fake_memory.ts";
import { BLKIO_EVENTS } from "../../../drivers/blkio/trace.ts";

/** How a rig is set up. */
export interface RigOptions {
  readonly disk?: Partial<Disk>;
  readonly maxInflight?: number;
  /** Deliveries by a completionLoop, as in a Worker; otherwise the test calls `reap`. */
  readonly pumped?: boolean;
  /** The other end can die. */
  readonly remote?: boolean;
  /** Completions may be there right after a submit. Default true. */
  readonly answersInSubmit?: boolean;
  /** Waits by sleeping in a way of its own, and what happens during each sleep. */
  readonly sleeps?: (rig: Rig) => void;
}

/** A queue under test. */
export class Rig implements Disposable {
  readonly port = new FakePort();
  readonly engine: BlkioEngine;
  readonly queue: RequestQueue;
  readonly completionLoop: CompletionLoop | null;
  readonly owner: QueueOwner;
  readonly memory = new FakeMemorySource();
  /** Results in order of completion. */
  readonly results: number[] = [];
  /** Milliseconds of each sleep. */
  readonly sleeps: number[] = [];
  /** Whether the other end is gone. */
  hungUp = false;

  constructor(options: RigOptions = {}) {
    const { disk = {}, maxInflight = 1024, pumped = false, remote = false, answersInSubmit = true, sleeps } = options;
    const whole: Disk = {
      capacityBytes: 1 << 20,
      maxPieceBytes: Infinity,
      maxDiscardBytes: Infinity,
      maxZeroesBytes: Infinity,
      end: () => 1 << 20,
      growTo: () => 0,
      ...disk,
    };
    const link = remote ? { hasHungUp: () => this.hungUp } : null;
    const sleeper = sleeps === undefined ? null : {
      sleep: (timeoutMs: number) => {
        this.sleeps.push(timeoutMs);
        sleeps(this);
      },
    };
    this.owner = { active: 0, onIdle: null, attemptLimits: attemptLimitsOf(whole) };
    this.engine = new BlkioEngine(this.port, whole, { link, sleeper });
    this.queue = new RequestQueue(this.engine, { maxInflight, events: BLKIO_EVENTS, answersInSubmit });
    this.completionLoop = pumped ? new CompletionLoop(this.queue, "event", null) : null;
    if (this.completionLoop === null) return;
    this.queue.observe(this.completionLoop);
    const { completionLoop } = this;
    this.port.onEvent = () => void setTimeout(() => completionLoop.woken(), 0);
  }

  /** A request with memory of its own where it needs some. */
  request(op: keyof typeof Opcode, offset = 0, length = 4096, flags = 0): IoRequest {
    const request = new IoRequest(Opcode[op], (_done, result) => void this.results.push(result));
    request.offset = offset;
    request.length = length;
    request.flags = flags;
    if (request.op <= Opcode.write) {
      const memory = this.memory.allocate(length);
      request.region = memory;
      request.addressLow = memory.addressLow;
      request.addressHigh = memory.addressHigh;
    }
    return request;
  }

  /** Enqueues and defers as a device in batching mode `plug` does. */
  send(request: IoRequest): IoRequest {
    this.queue.enqueue(request, this.owner);
    plugCall(DEFERRED_SUBMITS.plug, this.queue);
    return request;
  }

  /** Nothing queued, in flight, owed or held. */
  assertEmpty(): void {
    assert.equal(this.queue.active(), 0);
    assert.equal(this.owner.active, 0);
    assert.equal(this.queue.queued, 0);
    for (const memory of this.memory.all) assert.equal(memory.holds, 0);
    assert.equal(this.queue.stats.completions, this.queue.stats.requests);
  }

  [Symbol.dispose](): void {
    this.queue.stop();
    this.completionLoop?.stop();
  }
}

/** The next macrotask, after the timers that are due. */
export function macrotask(delayMs = 0): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
