import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import type { MemorySource } from "../../core/base/memory.ts";
import { Opcode } from "../../core/request/request.ts";
import type { DiskUnit } from "../disk/mod.ts";
import type { GuestRegion } from "../guest_memory/mod.ts";
import { readU32, readU64 } from "./bytes.ts";
import { blockCount, ByteCheck, byteCheck, cdbBytes, expectedBytes, Op } from "./cdb.ts";
import { readModes } from "./mode_pages.ts";
import { type BlockRange, readUnmapList, refusalOfSame, SameFlag } from "./ranges.ts";
import { type ScsiRequest, ScsiTransfer } from "./request.ts";
import { SCRATCH_BYTES, ScratchPool } from "./scratch.ts";
import { ScsiStatus, Sense } from "./sense.ts";
import type { ScsiUnit } from "./unit.ts";

/** How commands get to their disk, and how they end. */
interface CommandEnds {
  /** Starts a part on a disk at once. */
  start(disk: DiskUnit, part: ScsiTransfer): void;
  /** Answers the guest. */
  finish(request: ScsiRequest, status: number, sense: number, information?: number): void;
  /** Answers what a disk's −errno means. */
  fail(request: ScsiRequest, result: number, op: Opcode): void;
}

const PROTECT_BITS = 0xe0;

/** A disk's −errno on the way to {@link CommandEnds}. */
class PartFailure extends Error {
  constructor(readonly result: number, readonly op: Opcode) {
    super("a part of a command has failed");
  }
}

/** Commands that come to several requests to the disk, or to other than what the guest's memory holds. */
export class LongCommands {
  readonly #ends: CommandEnds;
  readonly #scratch: ScratchPool;

  /** Buffers come from `memory`. */
  constructor(memory: MemorySource, ends: CommandEnds) {
    this.#ends = ends;
    this.#scratch = new ScratchPool(memory);
  }

  /** Frees the buffers; nothing may be under way. */
  close(): void {
    this.#scratch.close();
  }

  /** Starts a command whose buffers are large enough. */
  start(request: ScsiRequest, unit: ScsiUnit, op: number): void {
    switch (op) {
      case Op.modeSelect6:
        return this.#selectModes(request, unit, 6);
      case Op.modeSelect10:
        return this.#selectModes(request, unit, 10);
      case Op.unmap:
        return this.#unmap(request, unit);
      case Op.writeSame10:
      case Op.writeSame16:
        return this.#writeSame(request, unit, op);
      case Op.verify10:
      case Op.verify12:
      case Op.verify16:
        return this.#verify(request, unit, op, false);
      default:
        return this.#verify(request, unit, op, true);
    }
  }

  #end(request: ScsiRequest, sense: number, information?: number): void {
    const status = sense === Sense.none ? ScsiStatus.good : ScsiStatus.checkCondition;
    this.#ends.finish(request, status, sense, information);
  }

  /** All of the data-out that the command asks for. */
  #parameters(request: ScsiRequest): Uint8Array<ArrayBuffer> {
    const list = new Uint8Array(-expectedBytes(request.cdb, request.unit!.facts.blockBytes));
    request.transferred = request.buffers.read(0, list);
    return list;
  }

  #selectModes(request: ScsiRequest, unit: ScsiUnit, form: 6 | 10): void {
    const { state, facts } = unit;
    const wanted = readModes(this.#parameters(request), request.cdb, form, unit);
    if (typeof wanted === "number") return this.#end(request, wanted);
    const before = { writeBack: state.writeBack, protect: state.protected };
    // Writes that come from now on are durable by themselves.
    state.change(wanted);
    if (!before.writeBack || state.writeBack || facts.readOnly) return this.#end(request, Sense.none);
    this.#run(request, unit, async () => {
      // A guest without a write-back cache flushes no more: what was in it is made durable first (SBC-3, 6.5.5).
      const result = await this.#send(unit, newPart(Opcode.flush, 0, 0, false));
      if (result === 0) return;
      state.change(before);
      throw new PartFailure(result, Opcode.flush);
    });
  }

  #unmap(request: ScsiRequest, unit: ScsiUnit): void {
    const { facts, state } = unit;
    // ANCHOR.
    if ((request.cdb[1]! & 1) !== 0) return this.#end(request, Sense.invalidFieldInCdb);
    if (!facts.discards) return this.#end(request, Sense.invalidOperation);
    if (facts.readOnly || state.protected) return this.#end(request, Sense.writeProtected);
    const ranges = readUnmapList(this.#parameters(request), facts);
    if (typeof ranges === "number") return this.#end(request, ranges);
    if (ranges.length === 0) return this.#end(request, Sense.none);
    this.#run(request, unit, async () => {
      // All are awaited, whatever becomes of the first.
      const results = await Promise.all(ranges.map((range) => this.#range(unit, Opcode.discard, range, false)));
      const failed = results.find((result) => result !== 0);
      if (failed !== undefined) throw new PartFailure(failed, Opcode.discard);
    });
  }

  #writeSame(request: ScsiRequest, unit: ScsiUnit, op: number): void {
    const { facts, state } = unit;
    const flags = request.cdb[1]!;
    const range = rangeOf(request.cdb, op);
    request.offset = range.lba * facts.blockBytes;
    if ((flags & PROTECT_BITS) !== 0) return this.#end(request, Sense.invalidFieldInCdb);
    if (facts.readOnly || state.protected) return this.#end(request, Sense.writeProtected);
    const refusal = refusalOfSame(op === Op.writeSame10 ? flags & ~SameFlag.noBlock : flags, range, facts);
    if (refusal !== Sense.none) return this.#end(request, refusal);
    const hasBlock = op === Op.writeSame10 || (flags & SameFlag.noBlock) === 0;
    const block = hasBlock ? this.#parameters(request) : new Uint8Array(facts.blockBytes);
    this.#run(request, unit, async () => {
      const durable = !state.writeBack;
      if (block.every((byte) => byte === 0)) {
        const result = await this.#range(unit, Opcode.writeZeroes, range, durable);
        if (result === 0) return;
        // Where the disk knows no command for it, zeroes are written.
        if (result !== -Errno.EOPNOTSUPP && result !== -Errno.EINVAL) throw new PartFailure(result, Opcode.writeZeroes);
      }
      await this.#repeat(unit, block, range, durable);
    });
  }

  #verify(request: ScsiRequest, unit: ScsiUnit, op: number, writes: boolean): void {
    const { facts, state } = unit;
    const { cdb } = request;
    const check = byteCheck(cdb);
    const range = rangeOf(cdb, op);
    const length = range.count * facts.blockBytes;
    request.offset = range.lba * facts.blockBytes;
    if ((cdb[1]! & PROTECT_BITS) !== 0 || check === ByteCheck.reserved || (writes && check === ByteCheck.same)) {
      return this.#end(request, Sense.invalidFieldInCdb);
    }
    if (writes && (facts.readOnly || state.protected)) return this.#end(request, Sense.writeProtected);
    if (range.lba + range.count > facts.blocks) return this.#end(request, Sense.outOfRange);
    request.transferred = -expectedBytes(cdb, facts.blockBytes);
    if (length === 0 || (!writes && check === ByteCheck.nothing)) return this.#end(request, Sense.none);
    this.#run(request, unit, async () => {
      if (writes) {
        const part = newPart(Opcode.write, request.offset, length, true);
        part.data.pushPart(request.buffers, 0, length);
        await this.#part(unit, part);
      }
      return check === ByteCheck.nothing ? -1 : await this.#compare(request, unit, length, check);
    });
  }

  /** First byte that differs from the guest's, or −1. */
  async #compare(request: ScsiRequest, unit: ScsiUnit, length: number, check: number): Promise<number> {
    const { blockBytes } = unit.facts;
    const wanted = new Uint8Array(check === ByteCheck.same ? blockBytes : Math.min(length, SCRATCH_BYTES));
    if (check === ByteCheck.same) request.buffers.read(0, wanted);
    return await this.#withScratch(async (region) => {
      for (let done = 0; done < length; done += SCRATCH_BYTES) {
        const count = Math.min(SCRATCH_BYTES, length - done);
        const part = newPart(Opcode.read, request.offset + done, count, false);
        part.data.push(region, 0, count);
        await this.#part(unit, part);
        if (check === ByteCheck.each) request.buffers.read(done, wanted.subarray(0, count));
        const found = region.memory.bytes;
        for (let at = 0; at < count; at++) if (found[at] !== wanted[at % wanted.length]) return done + at;
      }
      return -1;
    });
  }

  /** Writes a block again and again. */
  async #repeat(unit: ScsiUnit, block: Uint8Array, range: BlockRange, durable: boolean): Promise<void> {
    const { blockBytes } = unit.facts;
    const length = range.count * blockBytes;
    await this.#withScratch(async (region) => {
      const { bytes } = region.memory;
      for (let at = 0; at < Math.min(length, SCRATCH_BYTES); at += blockBytes) bytes.set(block, at);
      for (let done = 0; done < length; done += SCRATCH_BYTES) {
        const count = Math.min(SCRATCH_BYTES, length - done);
        const part = newPart(Opcode.write, range.lba * blockBytes + done, count, durable);
        part.data.push(region, 0, count);
        await this.#part(unit, part);
      }
    });
  }

  async #withScratch<Result>(use: (region: GuestRegion) => Promise<Result>): Promise<Result> {
    const region = await this.#scratch.take();
    try {
      return await use(region);
    } finally {
      this.#scratch.give(region);
    }
  }

  #range(unit: ScsiUnit, op: Opcode, { lba, count }: BlockRange, durable: boolean): Promise<number> {
    const { blockBytes } = unit.facts;
    return this.#send(unit, newPart(op, lba * blockBytes, count * blockBytes, durable));
  }

  async #part(unit: ScsiUnit, part: ScsiTransfer): Promise<void> {
    const result = await this.#send(unit, part);
    if (result !== 0) throw new PartFailure(result, part.op);
  }

  #send(unit: ScsiUnit, part: ScsiTransfer): Promise<number> {
    return new Promise((resolve) => {
      part.onPart = resolve;
      this.#ends.start(unit.disk, part);
    });
  }

  /** Runs a command to its end; `work` resolves to the byte in which something differs, where something does. */
  async #run(request: ScsiRequest, unit: ScsiUnit, work: () => Promise<number | void>): Promise<void> {
    // It goes on in microtasks, so the thread may not sleep for anything else meanwhile.
    unit.disk.copying++;
    try {
      const differs = await work() ?? -1;
      this.#end(request, differs < 0 ? Sense.none : Sense.miscompare, differs);
    } catch (error) {
      if (error instanceof PartFailure) this.#ends.fail(request, error.result, error.op);
      else {
        const errno = error instanceof StorageError && error.errno > 0 ? error.errno : Errno.EIO;
        this.#ends.fail(request, -errno, Opcode.write);
      }
    } finally {
      unit.disk.copying--;
    }
  }
}

function newPart(op: Opcode, offset: number, length: number, durable: boolean): ScsiTransfer {
  const part = new ScsiTransfer();
  part.op = op;
  part.offset = offset;
  part.length = length;
  part.durable = durable;
  return part;
}

function rangeOf(cdb: Uint8Array, op: number): BlockRange {
  return { lba: cdbBytes(op) === 16 ? readU64(cdb, 2) : readU32(cdb, 2), count: blockCount(cdb, op) };
}
