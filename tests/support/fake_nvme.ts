/**
 * An NVMe controller without hardware: the same registers, queues and memory behind the same port, with faults on
 * request. It checks what a host must not do, and remembers each mistake in `violations`.
 *
 * @module
 */
import { Errno } from "../../core/base/errno.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { signalEventFd } from "../../ffi/libc/mod.ts";
import { type ControllerPort, NVME_CONSTANTS as C } from "../../ffi/vfio_nvme/mod.ts";
import { FakeNamespace, identifyPage } from "./fake_nvme_identify.ts";

const PAGE = 4096;
const ALL_ONES = 0xffff_ffff;
const DOORBELLS_AT = 0x1000;

/** What happens to one command. */
export type Fault =
  /** It never completes. */
  | "drop"
  /** It completes with another command's identifier. */
  | "wrong cid"
  /** It completes twice. */
  | "duplicate"
  /** Its completion is written with the phase bit of the last round. */
  | "old phase"
  /** The controller reports a fatal error and stops. */
  | "fatal"
  /** The device is pulled out: registers read all ones. */
  | "gone"
  /** It fails with this status: SCT and SC in 11 bits, DNR in bit 14. */
  | { readonly status: number };

/** A command as the controller fetched it. */
export interface FakeCommand {
  readonly qid: number;
  readonly cid: number;
  readonly opcode: number;
  readonly nsid: number;
  readonly prp1: number;
  readonly prp2: number;
  readonly cdw10: number;
  readonly cdw11: number;
  readonly cdw12: number;
}

/** How the controller is built. */
export interface FakeOptions {
  readonly namespaces?: readonly FakeNamespace[];
  /** CAP.MQES + 1. */
  readonly maxQueueEntries?: number;
  /** MDTS: a power of two of pages, 0 for none. */
  readonly mdts?: number;
  /** Optional commands (ONCS). */
  readonly optional?: number;
  /** Pairs of I/O queues that Set Features grants. */
  readonly queuePairs?: number;
  /** Looks at CSTS before RDY follows CC.EN. */
  readonly readyAfterLooks?: number;
  /** CC.EN to 0 has no effect. */
  readonly neverStops?: boolean;
  readonly vectorCount?: number;
  readonly iovaRanges?: readonly { first: number; last: number }[];
  /** Errno of the first DMA mappings after so many. */
  readonly mapFailsAfter?: number;
}

interface Queues {
  readonly entries: number;
  readonly cqIova: number;
  sqIova: number;
  vector: number;
  sqHead: number;
  sqTail: number;
  cqTail: number;
  cqHead: number;
  phase: number;
  readonly unposted: { readonly cid: number; readonly status: number; readonly result: number }[];
}

/** The controller. Commands run when their doorbell is written, unless `held`; then `release` runs them. */
export class FakeNvme implements ControllerPort {
  readonly address = "0000:01:00.0";
  readonly registerBytes = 0x2000;
  readonly mappingLimit = 65535;
  readonly iommu = "fake";
  readonly vectorCount: number;
  readonly iovaRanges: readonly { first: number; last: number }[];
  readonly options: FakeOptions;
  readonly namespaces: readonly FakeNamespace[];
  closed = false;
  /** Commands wait for `release`. */
  held = false;
  /** Decides what happens to a command; asked for I/O commands and for admin commands by their queue 0. */
  fault: (command: FakeCommand) => Fault | null = () => null;
  /** What the host did wrong, in words. */
  readonly violations: string[] = [];
  /** Stores to doorbells, in order. */
  readonly doorbells: { readonly qid: number; readonly kind: "sq" | "cq"; readonly value: number }[] = [];
  /** I/O commands that were fetched, in order. */
  readonly commands: FakeCommand[] = [];
  /** Admin commands that were fetched, in order. */
  readonly adminCommands: FakeCommand[] = [];
  /** What was done to the function, in order. */
  readonly events: string[] = [];
  busMaster = false;
  isGone = false;
  readonly #mappings = new Map<number, OwnedMemory>();
  readonly #queues = new Map<number, Queues>();
  readonly #backlog: { readonly queues: Queues; readonly command: FakeCommand }[] = [];
  readonly #asyncRequests: number[] = [];
  readonly #registers = new Map<number, number>();
  /** Vectors whose interrupt is due. */
  readonly #due = new Set<number>();
  #vectors: number[] = [];
  #requestFd = -1;
  #askedBack = 0;
  #fatal = false;
  #readyLooks = 0;
  #maps = 0;
  #duplicates = 0;

  constructor(options: FakeOptions = {}) {
    this.options = options;
    this.namespaces = options.namespaces ?? [new FakeNamespace({ blockCount: 2048 })];
    this.vectorCount = options.vectorCount ?? 9;
    this.iovaRanges = options.iovaRanges ?? [{ first: 0, last: 2 ** 39 - 1 }];
  }

  /** DMA mappings that are there now. */
  get mappingCount(): number {
    return this.#mappings.size;
  }

  load(offset: number): number {
    if (this.isGone || this.closed) return ALL_ONES;
    if (offset === C.NVME_REG_CAP.value) return ((this.options.maxQueueEntries ?? 1024) - 1) | (1 << 16) | (1 << 24);
    if (offset === C.NVME_REG_CAP.value + 4) return 1 << 5;
    if (offset === C.NVME_REG_CSTS.value) return this.#csts();
    return this.#registers.get(offset) ?? 0;
  }

  store(offset: number, value: number): void {
    if (this.isGone || this.closed) return;
    if (offset >= DOORBELLS_AT) return this.#doorbell((offset - DOORBELLS_AT) / 4, value >>> 0);
    const before = this.#registers.get(C.NVME_REG_CC.value) ?? 0;
    this.#registers.set(offset, value >>> 0);
    if (offset !== C.NVME_REG_CC.value) return;
    if ((value & 1) === 1 && (before & 1) === 0) this.#enable();
    else if ((value & 1) === 0 && this.options.neverStops !== true) this.#stop();
    if (((value >>> C.NVME_CC_SHN_SHIFT.value) & 3) === 1) this.events.push("shutdown");
  }

  map(memory: OwnedMemory, iova: number): number {
    if (this.closed) return -Errno.ENODEV;
    if (this.options.mapFailsAfter !== undefined && this.#maps >= this.options.mapFailsAfter) return -Errno.ENOMEM;
    this.#maps++;
    this.#mappings.set(iova, memory);
    return 0;
  }

  unmap(byteLength: number, iova: number): number {
    const memory = this.#mappings.get(iova);
    if (memory === undefined || memory.byteLength !== byteLength) return -Errno.ENOENT;
    this.#mappings.delete(iova);
    return 0;
  }

  setVectors(first: number, eventFds: readonly number[]): number {
    if (first + eventFds.length > this.vectorCount) return -Errno.EINVAL;
    for (const [index, fd] of eventFds.entries()) this.#vectors[first + index] = fd;
    return 0;
  }

  setRequestFd(eventFd: number): number {
    this.#requestFd = eventFd;
    return 0;
  }

  /** The kernel wants the controller back. */
  askBack(): void {
    this.#askedBack = 1;
    signalEventFd(this.#requestFd);
  }

  setBusMaster(on: boolean): number {
    this.events.push(on ? "bus master on" : "bus master off");
    this.busMaster = on;
    return this.isGone ? -Errno.EIO : 0;
  }

  reset(): number {
    this.events.push("function reset");
    if (this.isGone) return -Errno.EIO;
    this.#stop();
    this.busMaster = false;
    this.#registers.set(C.NVME_REG_CC.value, 0);
    return 0;
  }

  wait(eventFd: number, _timeoutMs: number): number {
    if (eventFd === this.#requestFd) return this.#askedBack;
    // What is held would never come: the wait is over at once, as after its time-out.
    return 0;
  }

  [Symbol.dispose](): void {
    if (this.closed) return;
    this.events.push("closed");
    this.closed = true;
    this.busMaster = false;
    this.#mappings.clear();
    this.#vectors = [];
  }

  /** Runs up to `count` commands that are held. */
  release(count = Infinity): void {
    for (let left = Math.min(count, this.#backlog.length); left > 0; left--) {
      const { queues, command } = this.#backlog.shift()!;
      this.#run(queues, command);
    }
    this.#interruptAll();
  }

  /** Completes the event request that waits with the controller. */
  reportEvent(result: number): void {
    const cid = this.#asyncRequests.shift();
    if (cid === undefined) throw new Error("the host has no event request with the controller");
    this.#complete(this.#queues.get(0)!, cid, 0, result);
    this.#interruptAll();
  }

  /** Event requests that the host keeps with the controller. */
  get asyncRequests(): number {
    return this.#asyncRequests.length;
  }

  /** Writes a completion that no request asked for. */
  postStray(qid: number, cid: number): void {
    this.#complete(this.#queues.get(qid)!, cid, 0, 0);
    this.#interruptAll();
  }

  /** `byteLength` bytes at an I/O virtual address; empty where nothing is mapped, which is a violation. */
  memory(iova: number, byteLength: number): Uint8Array {
    for (const [start, memory] of this.#mappings) {
      if (iova >= start && iova + byteLength <= start + memory.byteLength) {
        return memory.bytes.subarray(iova - start, iova - start + byteLength);
      }
    }
    this.violations.push(`DMA to 0x${iova.toString(16)}, where nothing is mapped`);
    return new Uint8Array(byteLength);
  }

  #csts(): number {
    let csts = this.#fatal ? 1 << C.NVME_CSTS_CFS_SHIFT.value : 0;
    const cc = this.#registers.get(C.NVME_REG_CC.value) ?? 0;
    const enabled = (cc & 1) === 1 || this.#queues.size > 0;
    if (enabled && this.#readyLooks-- <= 0) csts |= 1;
    if (((cc >>> C.NVME_CC_SHN_SHIFT.value) & 3) === 1) csts |= 2 << C.NVME_CSTS_SHST_SHIFT.value;
    return csts;
  }

  #enable(): void {
    const aqa = this.#registers.get(C.NVME_REG_AQA.value) ?? 0;
    if (aqa === 0) this.violations.push("enabled without admin queues");
    if (!this.busMaster) this.violations.push("enabled without bus mastering");
    this.#readyLooks = this.options.readyAfterLooks ?? 0;
    const address = (register: number) =>
      (this.#registers.get(register) ?? 0) + (this.#registers.get(register + 4) ?? 0) * 2 ** 32;
    const entries = (aqa & 0xfff) + 1;
    this.#addQueue(0, entries, address(C.NVME_REG_ACQ.value), 0).sqIova = address(C.NVME_REG_ASQ.value);
  }

  #stop(): void {
    this.events.push("disabled");
    this.#queues.clear();
    this.#backlog.length = 0;
    this.#asyncRequests.length = 0;
    this.#fatal = false;
  }

  #addQueue(qid: number, entries: number, cqIova: number, vector: number): Queues {
    const queues = {
      entries,
      cqIova,
      sqIova: 0,
      vector,
      sqHead: 0,
      sqTail: 0,
      cqTail: 0,
      cqHead: 0,
      phase: 1,
      unposted: [],
    };
    this.#queues.set(qid, queues);
    return queues;
  }

  #doorbell(index: number, value: number): void {
    const qid = index >> 1;
    const kind = (index & 1) === 0 ? "sq" : "cq";
    this.doorbells.push({ qid, kind, value });
    const queues = this.#queues.get(qid);
    if (queues === undefined) {
      return void this.violations.push(`${kind} doorbell of queue ${qid}, which does not exist`);
    }
    if (this.#fatal) return;
    const before = kind === "sq" ? queues.sqTail : queues.cqHead;
    if (value >= queues.entries) this.violations.push(`${kind} doorbell ${qid}: ${value} is beyond the queue`);
    if (value === before) this.violations.push(`${kind} doorbell ${qid}: ${value} is the value that it had`);
    if (kind === "sq") return this.#fetch(qid, queues, value);
    queues.cqHead = value;
    for (const { cid, status, result } of queues.unposted.splice(0)) this.#complete(queues, cid, status, result);
    this.#interruptAll();
  }

  #fetch(qid: number, queues: Queues, tail: number): void {
    queues.sqTail = tail;
    while (queues.sqHead !== tail) {
      const bytes = this.memory(queues.sqIova + queues.sqHead * 64, 64);
      queues.sqHead = (queues.sqHead + 1) % queues.entries;
      const command = decode(qid, bytes);
      (qid === 0 ? this.adminCommands : this.commands).push(command);
      if (this.held && qid !== 0) this.#backlog.push({ queues, command });
      else this.#run(queues, command);
    }
    this.#interruptAll();
  }

  #run(queues: Queues, command: FakeCommand): void {
    if (this.isGone || this.#fatal) return;
    const fault = this.fault(command);
    if (fault === "drop") return;
    if (fault === "fatal") return void (this.#fatal = true);
    if (fault === "gone") return void (this.isGone = true);
    if (fault !== null && typeof fault === "object") return this.#complete(queues, command.cid, fault.status, 0);
    if (fault === "wrong cid") return this.#complete(queues, 0x7fff, 0, 0);
    if (fault === "old phase") return this.#writeCompletion(queues, command.cid, 0, 0, queues.phase ^ 1);
    if (command.qid === 0) return this.#runAdmin(queues, command);
    const status = this.#runIo(command);
    this.#complete(queues, command.cid, status, 0);
    if (fault !== "duplicate") return;
    this.#duplicates++;
    this.#complete(queues, command.cid, status, 0);
  }

  #runAdmin(queues: Queues, command: FakeCommand): void {
    const { opcode, cid, cdw10, cdw11, prp1 } = command;
    const done = (status: number, result = 0) => this.#complete(queues, cid, status, result);
    switch (opcode) {
      case C.nvme_admin_identify.value: {
        const page = identifyPage(this, command);
        if (page !== null) this.memory(prp1, PAGE).set(page);
        return done(page === null ? 0x002 : 0);
      }
      case C.nvme_admin_set_features.value:
        return done(0, ((this.options.queuePairs ?? 8) - 1) * 0x10001);
      case C.nvme_admin_create_cq.value:
        this.#addQueue(cdw10 & 0xffff, (cdw10 >>> 16) + 1, prp1, cdw11 >>> 16);
        return done(0);
      case C.nvme_admin_create_sq.value:
        this.#queues.get(cdw10 & 0xffff)!.sqIova = prp1;
        return done(0);
      case C.nvme_admin_delete_sq.value:
        return done(0);
      case C.nvme_admin_delete_cq.value:
        this.#queues.delete(cdw10 & 0xffff);
        return done(0);
      case C.nvme_admin_get_log_page.value:
        this.memory(prp1, 512).fill(0);
        return done(0);
      case C.nvme_admin_async_event.value:
        this.#asyncRequests.push(cid);
        return;
      case C.nvme_admin_abort_cmd.value:
        return done(0, this.#abort(cdw10 & 0xffff, cdw10 >>> 16) ? 0 : 1);
      default:
        return done(0x001);
    }
  }

  #abort(qid: number, cid: number): boolean {
    const index = this.#backlog.findIndex(({ command }) => command.qid === qid && command.cid === cid);
    if (index < 0) return false;
    const [entry] = this.#backlog.splice(index, 1);
    this.#complete(entry!.queues, cid, 0x007, 0);
    return true;
  }

  #runIo(command: FakeCommand): number {
    const namespace = this.namespaces[command.nsid - 1];
    if (namespace === undefined) return 0x00b;
    const { opcode, cdw10, cdw11, cdw12 } = command;
    if (opcode === C.nvme_cmd_flush.value) return 0;
    if (opcode === C.nvme_cmd_dsm.value) {
      const range = new DataView(this.memory(command.prp1, 16).slice().buffer);
      return namespace.fill(Number(range.getBigUint64(8, true)), range.getUint32(4, true), 0);
    }
    const first = (cdw10 >>> 0) + cdw11 * 2 ** 32;
    const count = (cdw12 & 0xffff) + 1;
    if (opcode === C.nvme_cmd_write_zeroes.value) return namespace.fill(first, count, 0);
    const bytes = count * namespace.blockBytes;
    const mdts = this.options.mdts ?? 0;
    if (mdts !== 0 && bytes > PAGE * 2 ** mdts) return 0x4002;
    const target = namespace.blocks(first, count);
    if (target === null) return 0x4080;
    for (const { iova, length, at } of this.#pages(command, bytes)) {
      const memory = this.memory(iova, length);
      if (opcode === C.nvme_cmd_read.value) memory.set(target.subarray(at, at + length));
      else target.set(memory, at);
    }
    return 0;
  }

  /** The pieces that PRP 1, PRP 2 and the list describe. */
  *#pages({ prp1, prp2 }: FakeCommand, bytes: number): Generator<{ iova: number; length: number; at: number }> {
    let at = Math.min(bytes, PAGE - prp1 % PAGE);
    yield { iova: prp1, length: at, at: 0 };
    if (at === bytes) return;
    if (bytes - at <= PAGE) return yield* this.#page(prp2, bytes - at, at);
    const list = new DataView(this.memory(prp2, Math.ceil((bytes - at) / PAGE) * 8).slice().buffer);
    for (let index = 0; at < bytes; index++) {
      const length = Math.min(PAGE, bytes - at);
      yield* this.#page(Number(list.getBigUint64(index * 8, true)), length, at);
      at += length;
    }
  }

  *#page(iova: number, length: number, at: number): Generator<{ iova: number; length: number; at: number }> {
    if (iova % PAGE !== 0) this.violations.push(`PRP 0x${iova.toString(16)} after the first is not a page`);
    yield { iova, length, at };
  }

  #complete(queues: Queues, cid: number, status: number, result: number): void {
    if (isFull(queues)) {
      // A controller does not post into a full queue. Without our own duplicates the host sent too many commands.
      if (this.#duplicates === 0) this.violations.push("completion queue overflow");
      queues.unposted.push({ cid, status, result });
      return;
    }
    this.#writeCompletion(queues, cid, status, result, queues.phase);
    if (++queues.cqTail === queues.entries) {
      queues.cqTail = 0;
      queues.phase ^= 1;
    }
    this.#due.add(queues.vector);
  }

  #writeCompletion(queues: Queues, cid: number, status: number, result: number, phase: number): void {
    const bytes = this.memory(queues.cqIova + queues.cqTail * 16, 16);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
    view.setUint32(0, result >>> 0, true);
    view.setUint32(12, (cid | (phase << 16) | (status << 17)) >>> 0, true);
  }

  /** One interrupt for each vector with something new. */
  #interruptAll(): void {
    for (const vector of this.#due) {
      const fd = this.#vectors[vector] ?? -1;
      if (fd >= 0) signalEventFd(fd);
    }
    this.#due.clear();
  }
}

function isFull({ cqTail, cqHead, entries }: Queues): boolean {
  return (cqTail + 1) % entries === cqHead;
}

function decode(qid: number, bytes: Uint8Array): FakeCommand {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 64);
  const word = (offset: number) => view.getUint32(offset, true);
  const address = (offset: number) => Number(view.getBigUint64(offset, true));
  return {
    qid,
    opcode: word(0) & 0xff,
    cid: word(0) >>> 16,
    nsid: word(4),
    prp1: address(24),
    prp2: address(32),
    cdw10: word(40),
    cdw11: word(44),
    cdw12: word(48),
  };
}
