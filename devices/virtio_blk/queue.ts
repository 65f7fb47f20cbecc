import { Opcode } from "../../core/request/request.ts";
import { DiskQueue, type DiskQueueOptions, type DiskUnit } from "../disk/mod.ts";
import { ChainTaker, type NotifyDriver, type SplitQueue, type VirtqueueDevice } from "../virtio/mod.ts";
import { BlkAction, BlkRequest, type BlkRules, BlkStatus, parseRequest } from "./request.ts";

/** What the queues of one disk in one Worker share. */
export interface BlkShared extends DiskQueueOptions {
  /** The disk. */
  readonly unit: DiskUnit;
  /** What requests are checked against. */
  readonly rules: BlkRules;
  /** Serial number, 20 bytes, filled up with zeroes. */
  readonly serial: Uint8Array;
  /** True while writes are durable when they are answered. */
  writeThrough: boolean;
  /** True while the disk may hold writes of before in a cache: flushes are still done. */
  owesFlush: boolean;
}

/** One virtqueue of a disk: what its requests mean, and their answers. */
export class BlkQueue extends DiskQueue<SplitQueue, BlkRequest> implements VirtqueueDevice {
  readonly #shared: BlkShared;
  readonly #taker: ChainTaker<BlkRequest>;
  /** Writes are durable whatever the cache mode: the driver has no way to flush. */
  readonly #cannotFlush: boolean;

  /** Serves `queue`; `cannotFlush` says that the driver did not negotiate a flush. */
  constructor(queue: SplitQueue, shared: BlkShared, notify: NotifyDriver, cannotFlush: boolean) {
    super(queue, notify, shared);
    this.#shared = shared;
    this.#taker = new ChainTaker(queue, () => new BlkRequest());
    this.#cannotFlush = cannotFlush;
  }

  protected override takeOne(): boolean {
    const taker = this.#taker;
    const request = taker.take();
    if (request === null) return false;
    const { rules, unit, writeThrough } = this.#shared;
    if (!parseRequest(taker.chain, rules, request)) {
      taker.refuse(request, "a request without room for its status");
      return false;
    }
    request.durable = false;
    if (request.action !== BlkAction.execute) this.#answerAtOnce(request);
    else if (request.op !== Opcode.read && (writeThrough || this.#cannotFlush)) this.#startDurable(request);
    else this.start(unit, request);
    return true;
  }

  /** Writes are durable when they are answered, and so a flush has nothing to do. */
  #startDurable(request: BlkRequest): void {
    if (request.op === Opcode.flush && !this.#shared.owesFlush) return this.#answer(request, BlkStatus.ok);
    request.durable = request.op !== Opcode.discard && request.op !== Opcode.flush;
    this.start(this.#shared.unit, request);
  }

  #answerAtOnce(request: BlkRequest): void {
    const { unit, serial } = this.#shared;
    if (request.action === BlkAction.getId) {
      request.length = request.data.write(serial);
      return this.#answer(request, BlkStatus.ok);
    }
    if (request.refusal !== "") unit.errors.refused(request.offset, request.length, request.refusal);
    this.#answer(request, request.status);
  }

  override completed(request: BlkRequest, result: number): void {
    const { op, durable } = request;
    const isWrite = op === Opcode.write || op === Opcode.writeZeroes;
    if (result === 0 && isWrite && !durable && this.#shared.writeThrough) return this.#flushAfter(request);
    this.#answer(request, result === 0 ? BlkStatus.ok : BlkStatus.ioError);
  }

  /** The cache mode has changed while the write was under way: it is durable when it is answered, too. */
  #flushAfter(request: BlkRequest): void {
    request.op = Opcode.flush;
    request.offset = request.length = 0;
    this.startNow(this.#shared.unit, request);
  }

  #answer(request: BlkRequest, status: number): void {
    const { dirtyLog } = this.queue;
    const { data, statusAt, action } = request;
    const reads = action === BlkAction.execute && request.op === Opcode.read;
    const written = status === BlkStatus.ok && (reads || action === BlkAction.getId) ? request.length : 0;
    statusAt.regions[0]!.memory.bytes[statusAt.offsets[0]!] = status;
    if (dirtyLog !== null) {
      dirtyLog.markSegments(data, reads ? data.byteLength : written);
      dirtyLog.markSegments(statusAt, 1);
    }
    this.#taker.answer(request, written + 1);
    this.answered(status !== BlkStatus.ok);
  }
}
