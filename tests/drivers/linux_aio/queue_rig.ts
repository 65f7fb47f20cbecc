/** An AioQueue on a fake kernel, and everything that came back from it. */
import assert from "node:assert/strict";
import { DEFERRED_SUBMITS } from "../../../core/deferred.ts";
import { plugCall } from "../../../core/plug.ts";
import { CompletionPump } from "../../../core/pump.ts";
import { IoRequest, Opcode } from "../../../core/request.ts";
import type { AioFile } from "../../../drivers/linux_aio/iocb.ts";
import { AioQueue } from "../../../drivers/linux_aio/queue.ts";
import { LIBAIO_CONSTANTS as A } from "../../../ffi/libaio/mod.ts";
import { FakeAio, type FakeAioOptions, type FakeIocb, fullResult } from "../../support/fake_aio.ts";
import type { HeapMemory } from "../../../drivers/memory/heap_memory.ts";
import { FakeMemorySource } from "../../support/fake_memory.ts";

/** Operation codes, short. */
export const OP = {
  read: A.IOCB_CMD_PREAD.value,
  write: A.IOCB_CMD_PWRITE.value,
  flush: A.IOCB_CMD_FDSYNC.value,
  readv: A.IOCB_CMD_PREADV.value,
  writev: A.IOCB_CMD_PWRITEV.value,
} as const;

/** How a rig is set up. */
export interface RigOptions extends FakeAioOptions {
  /** Deliveries by a pump, as in a Worker; otherwise the test calls `reap`. */
  readonly pumped?: boolean;
}

/** One completion as the caller saw it. */
export interface Outcome {
  readonly request: IoRequest;
  readonly result: number;
}

/** A file of the rig: operations without an entry are recorded and answered from a script. */
export interface RigFile extends AioFile {
  /** Requests that were carried out on this thread, by opcode. */
  readonly performed: Opcode[];
  /** Answers to the next of them; 0 when it is empty. */
  readonly answers: number[];
  /** Sizes that the file was grown to. */
  readonly grown: number[];
}

/** A file of a queue. */
export function newFile(fd: number, { maxBatch = Infinity, isDevice = false } = {}): RigFile {
  const file: RigFile = {
    fd,
    maxBatch,
    isDevice,
    discardWay: isDevice ? "command" : "punch",
    zeroWay: "zero range",
    flushWay: "entry",
    fuaWay: "flag",
    active: 0,
    onIdle: null,
    performed: [],
    answers: [],
    grown: [],
    growTo: (byteLength) => {
      file.grown.push(byteLength);
      return 0;
    },
    perform: (request) => {
      file.performed.push(request.op);
      return file.answers.shift() ?? 0;
    },
  };
  return file;
}

/** A queue under test. */
export class Rig implements Disposable {
  readonly port: FakeAio;
  readonly queue: AioQueue;
  readonly pump: CompletionPump | null;
  readonly file: RigFile = newFile(7);
  readonly memory: FakeMemorySource = new FakeMemorySource();
  /** Every callback so far. */
  readonly outcomes: Outcome[] = [];
  /** Called by every callback, after it was recorded. */
  onEach: ((request: IoRequest, result: number) => void) | null = null;

  constructor({ pumped = false, ...port }: RigOptions = {}) {
    this.port = new FakeAio(port);
    this.queue = new AioQueue(this.port);
    this.pump = pumped ? new CompletionPump(this.queue, "event", null) : null;
    if (this.pump === null) return;
    this.queue.observe(this.pump);
    const { pump } = this;
    this.port.onEvent = () => void setTimeout(() => pump.woken(), 0);
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
  send(request: IoRequest, file: AioFile = this.file): IoRequest {
    this.queue.enqueue(request, file);
    plugCall(DEFERRED_SUBMITS.plug, this.queue);
    return request;
  }

  /** Sends `count` reads of one page each, one after the other. */
  sendReads(count: number, file: AioFile = this.file): IoRequest[] {
    return Array.from({ length: count }, (_, index) => this.send(this.request("read", index * 4096), file));
  }

  /** Completes one pending entry, by default the oldest and in full; does not reap. */
  complete(result?: number, iocb: FakeIocb = this.port.pending[0]!): void {
    this.port.complete(iocb, result ?? fullResult(iocb));
  }

  /** The memory of a request. */
  bytesOf(request: IoRequest): Uint8Array<ArrayBuffer> {
    return (request.region as HeapMemory).bytes;
  }

  /** Completes and delivers until nothing is owed, and checks that nothing is left anywhere. */
  drain(): void {
    for (let rounds = 0; this.queue.active() > 0 && rounds < 1000; rounds++) {
      this.port.completeAll();
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
