/** A queue over AioEngine on a fake kernel, and everything that came back from it. */
import { CompletionLoop } from "../../../core/queue/completion_loop.ts";
import type { IoRequest, Opcode } from "../../../core/request/request.ts";
import type { AioFile } from "../../../drivers/linux_aio/iocb.ts";
import { RequestQueue } from "../../../core/queue/request_queue.ts";
import { AioEngine } from "../../../drivers/linux_aio/engine.ts";
import { LIBAIO_CONSTANTS as A } from "../../../ffi/libaio/mod.ts";
import { FakeAio, type FakeAioOptions, type FakeIocb, fullResult } from "../../support/fake_aio.ts";
import { RequestRig } from "../../support/request_rig.ts";
import { LAIO_EVENTS } from "../../../drivers/linux_aio/trace.ts";

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
  /** Deliveries by a completionLoop, as in a Worker; otherwise the test calls `reap`. */
  readonly pumped?: boolean;
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
    discardMethod: isDevice ? "command" : "punch",
    zeroMethod: "zero range",
    flushMethod: "entry",
    fuaMethod: "flag",
    attemptLimits: null,
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
export class Rig extends RequestRig<AioFile> {
  readonly port: FakeAio;
  readonly engine: AioEngine;
  readonly queue: RequestQueue;
  readonly completionLoop: CompletionLoop | null;
  readonly file: RigFile = newFile(7);

  constructor({ pumped = false, ...port }: RigOptions = {}) {
    super();
    this.port = new FakeAio(port);
    this.engine = new AioEngine(this.port);
    this.queue = new RequestQueue(this.engine, { maxInflight: this.port.capacity, events: LAIO_EVENTS });
    this.completionLoop = pumped ? new CompletionLoop(this.queue, "event", null) : null;
    if (this.completionLoop === null) return;
    this.queue.observe(this.completionLoop);
    // The event loop's wake-up is a macrotask of its own, never a call from inside the kernel.
    const { completionLoop } = this;
    this.port.onEvent = () => void setTimeout(() => completionLoop.woken(), 0);
  }

  /** Completes one pending entry, by default the oldest and in full; does not reap. */
  complete(result?: number, iocb: FakeIocb = this.port.pending[0]!): void {
    this.port.complete(iocb, result ?? fullResult(iocb));
  }

  /** As the device does: a batch that is full goes out at once. */
  override send(request: IoRequest, file: AioFile = this.file): IoRequest {
    super.send(request, file);
    if (this.engine.isBatchFull(file.maxBatch)) this.queue.commit();
    return request;
  }

  protected completeAll(): void {
    this.port.completeAll();
  }
}
