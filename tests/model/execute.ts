/**
 * Runs a program on a disk and compares everything it reads with the model.
 *
 * @module
 */
import { type BlockDevice, plug, plugDepth, unplug } from "../../mod.ts";
import { type Configuration, Disk } from "../conformance/configuration.ts";
import { Model, writtenBytes } from "./model.ts";
import {
  EXTENT_BYTES,
  MAX_OPERATION_BYTES,
  MAX_STEP_OPERATIONS,
  type Operation,
  type Program,
  type RangeOperation,
} from "./program.ts";

/** After this a step is taken for hung. Generous: only a bug waits for it. */
const STEP_DEADLINE_MS = 20_000;

/** Bytes behind the end that reads may ask for. */
const BEHIND_BYTES = 16_384;

/** A buffer of the pool: the longest operation, and room for an odd start. */
const SLOT_BYTES = MAX_OPERATION_BYTES + 4096;

/** Where a program failed, and how. */
export interface Failure {
  readonly step: number;
  readonly message: string;
}

/** Runs `program` on a fresh target of `configuration`; null when everything was as the model says. */
export async function execute(
  configuration: Configuration,
  program: Program,
  deadlineMs = STEP_DEADLINE_MS,
): Promise<Failure | null> {
  const isGrowing = configuration.lacks.growing === undefined;
  const byteLength = isGrowing ? EXTENT_BYTES / 2 : EXTENT_BYTES;
  const disk = await Disk.open(configuration, { byteLength, content: "pattern" }, { drainMs: deadlineMs });
  const run = new Execution(disk, isGrowing);
  let step = 0;
  try {
    for (; step < program.length; step++) await withDeadline(run.step(program[step]!), deadlineMs);
    await withDeadline(run.verify(), deadlineMs);
    await disk[Symbol.asyncDispose]();
    return null;
  } catch (error) {
    while (plugDepth() > 0) unplug();
    // After a failure closing may fail as well, which is not news.
    await disk[Symbol.asyncDispose]().catch(() => {});
    return { step, message: error instanceof Error ? error.message : String(error) };
  }
}

async function withDeadline(work: Promise<void>, deadlineMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the step did not end within ${deadlineMs} ms`)), deadlineMs);
  });
  try {
    await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** A range that is in use by the operations of a step. */
interface Claim {
  readonly start: number;
  readonly end: number;
  readonly writes: boolean;
}

/** One run of one program. */
class Execution {
  readonly #disk: Disk;
  readonly #isGrowing: boolean;
  readonly #model: Model;
  readonly #align: number;
  readonly #readLimit: number;
  #device: BlockDevice;
  /** The size before the step. */
  #size = 0;
  #slots: Uint8Array[];

  constructor(disk: Disk, isGrowing: boolean) {
    this.#disk = disk;
    this.#isGrowing = isGrowing;
    this.#device = disk.device;
    this.#model = new Model(disk.device.size, EXTENT_BYTES);
    this.#align = disk.device.alignment.offset;
    // Behind the extent of a larger device is unknown data.
    this.#readLimit = disk.device.size > EXTENT_BYTES ? EXTENT_BYTES : EXTENT_BYTES + BEHIND_BYTES;
    this.#slots = this.#device.allocate(MAX_STEP_OPERATIONS, SLOT_BYTES);
  }

  async step(step: Program[number]): Promise<void> {
    if (step.kind === "resize") return await this.#resize(step.byteLength);
    if (step.kind === "reopen") return await this.#reopen();
    this.#size = this.#model.size;
    const claims: Claim[] = [];
    const work: Promise<void>[] = [];
    try {
      for (const [slot, operation] of step.operations.entries()) {
        for (let count = 0; count < operation.enter; count++) plug();
        const started = this.#start(operation, slot, claims);
        if (started !== null) work.push(started);
        for (let count = 0; count < operation.leave && plugDepth() > 0; count++) unplug();
      }
    } finally {
      while (plugDepth() > 0) unplug();
    }
    const outcomes = await Promise.allSettled(work);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** Compares everything. */
  async verify(): Promise<void> {
    const { size } = this.#model;
    if (this.#device.size !== size) throw new Error(`the size is ${this.#device.size}, wanted ${size}`);
    const found = new Uint8Array(Math.min(size, EXTENT_BYTES));
    await this.#device.read(found, 0);
    this.#compare(0, found);
  }

  async #resize(byteLength: number): Promise<void> {
    if (!this.#isGrowing) return;
    const fitting = byteLength - byteLength % this.#align;
    await this.#device.resize(fitting);
    this.#model.resize(fitting);
  }

  async #reopen(): Promise<void> {
    await this.#device.close();
    this.#device = await this.#disk.again();
    this.#slots = this.#device.allocate(MAX_STEP_OPERATIONS, SLOT_BYTES);
    await this.verify();
  }

  /** Submits an operation, unless it would meet another one of its step: then their order is not defined. */
  #start(operation: Operation, slot: number, claims: Claim[]): Promise<void> | null {
    if (operation.kind === "flush") return this.#device.flush();
    const range = this.#fit(operation);
    if (range === null || !this.#claim(range, !operation.kind.startsWith("read"), claims)) return null;
    const { offset, length } = range;
    switch (operation.kind) {
      case "discard":
        this.#model.forget(offset, length);
        return this.#ranged(operation, offset, length);
      case "writeZeroes":
        this.#model.zero(offset, length);
        return this.#ranged(operation, offset, length);
      case "write":
      case "writev":
        return this.#write(operation, offset, length, this.#slots[slot]!);
      default:
        return this.#read(operation, offset, length, this.#slots[slot]!);
    }
  }

  /** The range of an operation, made to fit; null when nothing is left of it. */
  #fit({ kind, offset, length }: RangeOperation): { readonly offset: number; readonly length: number } | null {
    // A block device frees and zeroes whole blocks, also when it is open without direct I/O.
    const align = kind === "discard" || kind === "writeZeroes" ? this.#device.blockSize : this.#align;
    const start = offset - offset % align;
    const grows = this.#isGrowing && (kind.startsWith("write"));
    const limit = kind.startsWith("read") ? this.#readLimit : grows ? EXTENT_BYTES : Math.min(this.#size, EXTENT_BYTES);
    const end = Math.min(start + Math.ceil(length / align) * align, limit, start + MAX_OPERATION_BYTES);
    return end > start ? { offset: start, length: end - start } : null;
  }

  #claim({ offset, length }: { offset: number; length: number }, writes: boolean, claims: Claim[]): boolean {
    // What reaches behind the end meets everything else that does: the end itself may move.
    const end = offset + length > this.#size ? Infinity : offset + length;
    const meets = (other: Claim) => (writes || other.writes) && offset < other.end && other.start < end;
    if (claims.some(meets)) return false;
    claims.push({ start: offset, end, writes });
    return true;
  }

  /** The memory of an operation. */
  #memory({ memory, api }: RangeOperation, length: number, slot: Uint8Array): Uint8Array {
    if (api === "callback" || memory === "own") return slot.subarray(0, length);
    return memory === "odd" ? slot.subarray(3, 3 + length) : new Uint8Array(length);
  }

  async #write(operation: RangeOperation, offset: number, length: number, slot: Uint8Array): Promise<void> {
    const { tag, fua } = operation;
    const data = writtenBytes(tag, offset, length);
    const buffer = this.#memory(operation, length, slot);
    buffer.set(data);
    this.#model.write(offset, data);
    const written = await this.#transfer(operation, buffer, offset, fua);
    if (written !== length) throw new Error(`${operation.kind} of ${length} at ${offset} resolved to ${written}`);
  }

  async #read(operation: RangeOperation, offset: number, length: number, slot: Uint8Array): Promise<void> {
    const buffer = this.#memory(operation, length, slot).fill(0xee);
    const wanted = Math.max(0, Math.min(length, this.#size - offset));
    const bytes = await this.#transfer(operation, buffer, offset, false);
    if (bytes !== wanted) {
      throw new Error(`${operation.kind} of ${length} at ${offset} resolved to ${bytes}, wanted ${wanted}`);
    }
    this.#compare(offset, buffer);
  }

  #transfer(operation: RangeOperation, buffer: Uint8Array, offset: number, fua: boolean): Promise<number> {
    const { kind, api, pieces } = operation;
    const device = this.#device;
    const op = kind.startsWith("read") ? "read" : "write";
    if (api === "callback") return callBack(device, { op, buffer, offset, fua });
    if (!kind.endsWith("v")) return op === "read" ? device.read(buffer, offset) : device.write(buffer, offset, { fua });
    const cut = Math.max(this.#align, Math.ceil(buffer.length / pieces / this.#align) * this.#align);
    const parts: Uint8Array[] = [];
    for (let at = 0; at < buffer.length; at += cut) parts.push(buffer.subarray(at, at + cut));
    return op === "read" ? device.readv(parts, offset) : device.writev(parts, offset, { fua });
  }

  async #ranged({ kind, api }: RangeOperation, offset: number, length: number): Promise<void> {
    const op = kind === "discard" ? "discard" : "writeZeroes";
    if (api === "promise") return await this.#device[op](offset, length);
    const result = await callBack(this.#device, { op, offset, length });
    if (result !== 0) throw new Error(`${op} called back with ${result}, wanted 0`);
  }

  #compare(offset: number, found: Uint8Array): void {
    const difference = this.#model.difference(offset, found);
    if (difference !== null) throw new Error(difference);
  }
}

/** A request of the callback API as a promise; rejects when it fails. */
function callBack(
  device: BlockDevice,
  init: Omit<Parameters<BlockDevice["createRequest"]>[0], "onComplete">,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let calls = 0;
    const onComplete = (_request: unknown, result: number) => {
      if (++calls > 1) throw new Error(`${init.op} at ${init.offset} called back ${calls} times`);
      if (result < 0) reject(new Error(`${init.op} at ${init.offset} failed with errno ${-result}`));
      else resolve(result);
    };
    device.submit(device.createRequest({ ...init, onComplete }));
  });
}
