import { Opcode } from "../../core/request/request.ts";
import { DiskQueue, type DiskQueueOptions } from "../disk/mod.ts";
import { ChainTaker, type NotifyDriver, type SplitQueue, type VirtqueueDevice } from "../virtio/mod.ts";
import { NO_ADDRESS, targetOf } from "./address.ts";
import { readU32, readU64 } from "./bytes.ts";
import { blockCount, cdbBytes, expectedBytes, isKnown, lba6, MAX_CDB_BYTES, Op } from "./cdb.ts";
import { LongCommands } from "./long_commands.ts";
import { NOT_HERE, REPLY_BYTES, tell, tellAbsent } from "./inquiries.ts";
import { VIRTIO_SCSI_CMD_RESP as RESPONSE, VIRTIO_SCSI_CONSTANTS as C } from "./layout.ts";
import { readCommand, ScsiRequest, type ScsiTransfer } from "./request.ts";
import { failureOf, ScsiStatus, Sense, SENSE_BYTES, TIMED_OUT, writeSense } from "./sense.ts";
import type { ScsiUnits } from "./units.ts";
import type { ScsiUnit } from "./unit.ts";

/** What the request queues of one Worker share. */
export interface ScsiShared extends DiskQueueOptions {
  /** The units. */
  readonly units: ScsiUnits;
}

const PROTECT_BITS = 0xe0;
const FUA = 0x08;
const NACA = 0x04;
const ACA_TASK = 3;
/** Bytes of an answer without sense data. */
const SHORT_RESPONSE_BYTES = RESPONSE.fields.sense.offset;

/** What one queue is like. */
interface ScsiQueueOptions {
  /** The headers of its commands are the long ones. */
  readonly withProtection: boolean;
  /** Called when it is served no more. */
  readonly onClose: () => void;
}

/** One request queue: what its commands mean, and their answers. */
export class ScsiRequestQueue extends DiskQueue<SplitQueue, ScsiTransfer> implements VirtqueueDevice {
  readonly #units: ScsiUnits;
  readonly #taker: ChainTaker<ScsiRequest>;
  readonly #withProtection: boolean;
  readonly #onClose: () => void;
  /** Every request that was ever made, for task management: as many as the ring has entries, at most. */
  readonly #requests: ScsiRequest[] = [];
  readonly #reply = new Uint8Array(REPLY_BYTES);
  readonly #answer = new Uint8Array(RESPONSE.byteLength);
  readonly #answerView = new DataView(this.#answer.buffer);
  readonly #long: LongCommands;

  /** Serves `queue`; `notify` tells its driver. */
  constructor(queue: SplitQueue, shared: ScsiShared, notify: NotifyDriver, options: ScsiQueueOptions) {
    super(queue, notify, shared);
    this.#units = shared.units;
    this.#withProtection = options.withProtection;
    this.#onClose = options.onClose;
    this.#taker = new ChainTaker(queue, () => {
      const request = new ScsiRequest();
      this.#requests.push(request);
      return request;
    });
    this.#long = new LongCommands(shared.memory, {
      start: (unit, part) => this.startNow(unit, part),
      finish: (request, status, sense, information) => this.#finish(request, status, sense, information),
      fail: (request, result, op) => this.#fail(request, result, op),
    });
  }

  /**
   * Answers `response` instead of its own outcome to each command in flight that `match` is true for; resolves to how many
   * there were, once all of them are answered.
   */
  async abort(match: (request: ScsiRequest) => boolean, response: number): Promise<number> {
    for (const request of this.#requests) if (request.active && match(request)) request.abortedAs = response;
    return await this.settled(match);
  }

  /** Waits until the commands in flight that `match` is true for are answered; resolves to how many there were. */
  async settled(match: (request: ScsiRequest) => boolean): Promise<number> {
    const matching = this.#requests.filter((request) => request.active && match(request));
    await Promise.all(
      matching.map((request) => new Promise<void>((resolve) => void (request.onAnswered ??= []).push(resolve))),
    );
    return matching.length;
  }

  /** How many commands in flight `match` is true for. */
  count(match: (request: ScsiRequest) => boolean): number {
    return this.#requests.filter((request) => request.active && match(request)).length;
  }

  override close(): void {
    this.#long.close();
    super.close();
    this.#onClose();
  }

  protected override takeOne(): boolean {
    const taker = this.#taker;
    const request = taker.take();
    if (request === null) return false;
    if (!readCommand(taker.chain, this.#withProtection, request)) {
      const { readable, writable } = taker.chain;
      taker.refuse(request, `a command of ${readable.byteLength} bytes, with ${writable.byteLength} for its answer`);
      return false;
    }
    this.#begin(request);
    return true;
  }

  override completed(request: ScsiTransfer, result: number): void {
    if (request.onPart !== null) return request.onPart(result);
    const command = request as ScsiRequest;
    if (result !== 0) return this.#fail(command, result, command.op);
    command.transferred = command.data.byteLength;
    this.#finish(command, ScsiStatus.good, Sense.none);
  }

  #begin(request: ScsiRequest): void {
    const { cdb, place } = request;
    const op = cdb[0]!;
    if ((request.inBytes > 0 && request.outBytes > 0) || request.protectionBytes > 0) {
      return this.#respond(request, C.VIRTIO_SCSI_S_FAILURE.value);
    }
    if (place === NO_ADDRESS || !this.#units.hasTarget(targetOf(place))) {
      return this.#respond(request, C.VIRTIO_SCSI_S_BAD_TARGET.value);
    }
    const unit = this.#units.at(place);
    request.unit = unit;
    if (unit !== null && unit.state.attention !== Sense.none && !standsAside(op)) {
      const attention = unit.state.takeAttention();
      if (attention !== Sense.none) return this.#refuse(request, attention);
    }
    if (!isKnown(op)) return this.#refuse(request, unit === null ? Sense.noUnit : Sense.invalidOperation);
    const bytes = cdbBytes(op);
    if (request.taskAttribute === ACA_TASK || (bytes <= MAX_CDB_BYTES && (cdb[bytes - 1]! & NACA) !== 0)) {
      return this.#refuse(request, Sense.invalidFieldInCdb);
    }
    const expected = expectedBytes(cdb, unit?.facts.blockBytes ?? 0);
    if (expected > request.inBytes || -expected > request.outBytes) {
      return this.#respond(request, C.VIRTIO_SCSI_S_OVERRUN.value);
    }
    if (unit === null) return this.#tell(request, tellAbsent(this.#reply, cdb, place, this.#units), expected);
    this.#do(request, unit, op, expected);
  }

  #do(request: ScsiRequest, unit: ScsiUnit, op: number, expected: number): void {
    switch (op) {
      case Op.read10:
      case Op.write10:
        return this.#transfer(request, unit, op === Op.write10, readU32(request.cdb, 2), expected);
      case Op.read16:
      case Op.write16:
        return this.#transfer(request, unit, op === Op.write16, readU64(request.cdb, 2), expected);
      case Op.read12:
      case Op.write12:
        return this.#transfer(request, unit, op === Op.write12, readU32(request.cdb, 2), expected);
      case Op.read6:
      case Op.write6:
        return this.#transfer(request, unit, op === Op.write6, lba6(request.cdb), expected);
      case Op.synchronizeCache10:
      case Op.synchronizeCache16:
        return this.#flush(request, unit);
      case Op.testUnitReady:
      case Op.startStopUnit:
      case Op.preventAllow:
      case Op.reserve6:
      case Op.release6:
        return this.#finish(request, ScsiStatus.good, Sense.none);
      case Op.prefetch10:
      case Op.prefetch16:
        return this.#prefetch(request, unit, op);
    }
    const told = tell(this.#reply, request.cdb, unit, this.#units);
    if (told !== NOT_HERE) return this.#tell(request, told, expected);
    this.#long.start(request, unit, op);
  }

  #transfer(request: ScsiRequest, unit: ScsiUnit, isWrite: boolean, lba: number, expected: number): void {
    const { facts, state, disk } = unit;
    const { cdb, data, buffers } = request;
    const length = isWrite ? -expected : expected;
    // READ(6) and WRITE(6) have the block's number where the others have bits.
    const flags = cdbBytes(cdb[0]!) === 6 ? 0 : cdb[1]!;
    request.offset = lba * facts.blockBytes;
    request.length = length;
    if ((flags & PROTECT_BITS) !== 0) return this.#refuse(request, Sense.invalidFieldInCdb);
    if (isWrite && (facts.readOnly || state.protected)) return this.#refuse(request, Sense.writeProtected);
    if (lba + length / facts.blockBytes > facts.blocks) return this.#refuse(request, Sense.outOfRange);
    if (length === 0) return this.#finish(request, ScsiStatus.good, Sense.none);
    data.pushPart(buffers, 0, length);
    request.op = isWrite ? Opcode.write : Opcode.read;
    request.durable = isWrite && ((flags & FUA) !== 0 || !state.writeBack);
    this.start(disk, request);
  }

  #flush(request: ScsiRequest, { disk, facts }: ScsiUnit): void {
    // Without a write-back cache as well: there may have been one when something was written.
    if (facts.readOnly) return this.#finish(request, ScsiStatus.good, Sense.none);
    request.op = Opcode.flush;
    request.offset = request.length = 0;
    this.start(disk, request);
  }

  #prefetch(request: ScsiRequest, { facts }: ScsiUnit, op: number): void {
    const lba = op === Op.prefetch10 ? readU32(request.cdb, 2) : readU64(request.cdb, 2);
    if (lba + blockCount(request.cdb, op) > facts.blocks) return this.#refuse(request, Sense.outOfRange);
    // Not CONDITION MET, which says that all of it fits in the cache: Linux takes that for a failure of pass-through commands.
    this.#finish(request, ScsiStatus.good, Sense.none);
  }

  /** Answers with the first bytes of the reply, `length` of them, or with sense data below 0. */
  #tell(request: ScsiRequest, length: number, allocated: number): void {
    if (length < 0) return this.#refuse(request, -length);
    const count = Math.min(length, allocated);
    request.buffers.write(this.#reply.subarray(0, count));
    request.transferred = count;
    this.#finish(request, ScsiStatus.good, Sense.none);
  }

  #refuse(request: ScsiRequest, sense: number): void {
    this.#finish(request, ScsiStatus.checkCondition, sense);
  }

  #fail(request: ScsiRequest, result: number, op: Opcode): void {
    const failure = failureOf(-result, op);
    if (failure === TIMED_OUT && request.abortedAs < 0) request.abortedAs = C.VIRTIO_SCSI_S_ABORTED.value;
    request.transferred = 0;
    if (op === Opcode.discard && failure.sense === Sense.invalidOperation) this.#units.stopDiscards(request.unit!);
    const isMedium = failure.sense === Sense.unrecoveredReadError;
    const lba = isMedium ? request.offset / request.unit!.facts.blockBytes : -1;
    this.#finish(request, failure.status, failure.sense, lba);
  }

  /** What the transport says of a command that no unit has seen. */
  #respond(request: ScsiRequest, response: number): void {
    if (request.abortedAs < 0) request.abortedAs = response;
    this.#finish(request, ScsiStatus.good, Sense.none);
  }

  #finish(request: ScsiRequest, status: number, sense: number, information = -1): void {
    const answer = this.#answer;
    const view = this.#answerView;
    const { fields } = RESPONSE;
    const hasSense = sense !== Sense.none && status === ScsiStatus.checkCondition;
    const bufferBytes = request.inBytes + request.outBytes;
    view.setUint32(fields.senseLength.offset, hasSense ? SENSE_BYTES : 0, true);
    view.setUint32(fields.residual.offset, bufferBytes - request.transferred, true);
    view.setUint16(fields.statusQualifier.offset, 0, true);
    answer[fields.status.offset] = status;
    answer[fields.response.offset] = Math.max(request.abortedAs, C.VIRTIO_SCSI_S_OK.value);
    if (hasSense) writeSense(answer, fields.sense.offset, sense, information);
    this.#write(request, hasSense ? SHORT_RESPONSE_BYTES + SENSE_BYTES : SHORT_RESPONSE_BYTES);
    const read = request.inBytes > 0 ? request.transferred : 0;
    const { dirtyLog } = this.queue;
    if (dirtyLog !== null) {
      dirtyLog.markSegments(request.response, RESPONSE.byteLength);
      // A read that failed may have written some of it.
      if (request.inBytes > 0) dirtyLog.markSegments(request.buffers, request.inBytes);
    }
    const { onAnswered } = request;
    this.#taker.answer(request, RESPONSE.byteLength + read);
    if (onAnswered !== null) { for (const tellAnswered of onAnswered) tellAnswered(); }
    this.answered(status !== ScsiStatus.good);
  }

  /** Writes the first bytes of the answer, without a view of them where they lie in one piece. */
  #write({ response }: ScsiRequest, byteLength: number): void {
    if (response.lengths[0]! < byteLength) {
      response.write(this.#answer.subarray(0, byteLength));
      return;
    }
    const { bytes } = response.regions[0]!.memory;
    const at = response.offsets[0]!;
    for (let index = 0; index < byteLength; index++) bytes[at + index] = this.#answer[index]!;
  }
}

/** Commands that a unit attention does not keep from being done: they never report it, or tell it as data. */
function standsAside(op: number): boolean {
  return op === Op.inquiry || op === Op.reportLuns || op === Op.requestSense;
}
