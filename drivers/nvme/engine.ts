import type { Engine, EngineQueue } from "../../core/queue/engine.ts";
import { type IoRequest, Opcode } from "../../core/request/request.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { IoCommand, writeIoCommand } from "./commands.ts";
import type { QueueHost } from "./host.ts";
import type { NamespaceTarget } from "./namespace.ts";
import type { PrpBuilder } from "./prp.ts";
import type { QueuePair } from "./queue_pair.ts";
import { DRIVER_ABORTED, statusErrno } from "./status.ts";
import { NVME_EVENTS as events } from "./trace.ts";

/** Looks at the completion queue between two looks after the controller while polling: reading the clock costs. */
const LOOKS_PER_CHECK = 4096;

/** Requests that a pair of queues can have in flight: one less than it has entries. */
export function maxInflightOf({ entries }: QueuePair): number {
  return entries - 1;
}

/** One pair of queues: commands, announced by one doorbell, and their completions. */
export class NvmeEngine implements Engine {
  readonly keepsEntries = false;
  /** Queue identifier. */
  readonly qid: number;
  readonly #pair: QueuePair;
  readonly #prp: PrpBuilder;
  readonly #host: QueueHost;
  /** Waits by looking instead of by interrupt. */
  readonly #spins: boolean;
  /** Value of the tick counter when each slot's command was written: the age of a command, without a clock per I/O. */
  readonly #slotTicks: Int32Array;
  readonly #command = new IoCommand();
  readonly #onCompletion = (cid: number, status: number) => this.#complete(cid, status);
  #queue!: EngineQueue;
  #tick = 0;
  #phase: "running" | "suspended" | "broken" = "running";

  /** Makes the engine of `pair`. */
  constructor(pair: QueuePair, prp: PrpBuilder, host: QueueHost, spins: boolean) {
    this.#pair = pair;
    this.#prp = prp;
    this.#host = host;
    this.#spins = spins;
    this.qid = pair.qid;
    this.#slotTicks = new Int32Array(maxInflightOf(pair));
  }

  attach(queue: EngineQueue): void {
    this.#queue = queue;
  }

  /** The queue that the engine works for. */
  get queue(): EngineQueue {
    return this.#queue;
  }

  get queued(): number {
    return this.#pair.pushed;
  }

  /** There is an entry for each request that has a slot, but none is written while the controller is reset. */
  makeRoom(): boolean {
    return this.#phase !== "suspended";
  }

  prep(request: IoRequest): void {
    const { op, slot } = request;
    if (op === Opcode.nop) return this.#queue.handleResult(request, 0);
    const { nsid, blockShift } = request.owner as NamespaceTarget;
    const command = this.#command;
    if (op <= Opcode.write) request.attemptBytes = this.#prp.plan(request, slot, request.attemptBytes);
    command.cid = slot;
    command.nsid = nsid;
    command.firstBlock = (request.offset + request.done) / 2 ** blockShift;
    command.blockCount = request.attemptBytes / 2 ** blockShift;
    if (op === Opcode.discard) this.#prp.planRange(slot, command.firstBlock, command.blockCount);
    this.#slotTicks[slot] = this.#tick;
    writeIoCommand(this.#pair.sq, this.#pair.push(), request, this.#prp, command);
  }

  commit(): number {
    if (this.#phase !== "running") return 0;
    const count = this.#pair.kick();
    if (count === 0) return 0;
    const { stats, inflight } = this.#queue;
    stats.submits++;
    stats.ffiCalls++;
    stats.submittedEntries += count;
    stats.depthSum += inflight.size;
    stats.doorbells = this.#pair.doorbells;
    if (events.kick.hasSubscribers) events.kick.publish({ qid: this.qid, count, inflight: inflight.size });
    return 0;
  }

  getevents(min: number): number {
    this.commit();
    if (min === 0) return 0;
    const queue = this.#queue;
    const ahead = Math.min(min, queue.inflight.size) - 1;
    for (let looks = 1; !queue.owesCallbacks && queue.active() > 0; looks++) {
      if (ahead >= 0 && this.#pair.ready(ahead)) break;
      if (!this.#spins) this.#host.waitForInterrupt();
      else if (looks % LOOKS_PER_CHECK === 0) this.#host.lookAfter();
      // After a reset fewer are in flight than were, or none.
      if (queue.inflight.size <= ahead || ahead < 0) break;
    }
    return 0;
  }

  available(): number {
    return this.#pair.ready() ? 1 : 0;
  }

  reap(): boolean {
    return this.#collect(false);
  }

  /** Asks the controller to give `request` up: a command that it has not been told of cannot be aborted. */
  cancel({ slot }: IoRequest): void {
    this.commit();
    this.#host.abort(this.qid, slot);
  }

  /** What was pushed and not announced goes with what is in flight: see `endInflight`. */
  takeBack(): void {}

  goesOn(): boolean {
    return false;
  }

  arm(): boolean {
    return this.#host.armInterrupt();
  }

  /** The vector fires with each batch of completions, whether the event loop waits or not. */
  disarm(): void {}

  /** One step of the clock of commands; `onOld` gets each one of exactly `abortAge` or at least `resetAge` ticks. */
  tick(abortAge: number, resetAge: number, onOld: (cid: number, tooOld: boolean) => void): void {
    this.#tick++;
    this.#queue.inflight.forEach(({ slot }) => {
      const age = this.#tick - this.#slotTicks[slot]!;
      if (age === abortAge) onOld(slot, false);
      else if (age >= resetAge) onOld(slot, true);
    });
  }

  /** The controller is about to be reset: nothing is written or announced any more. */
  suspend(): void {
    if (this.#phase !== "running") return;
    this.#phase = "suspended";
    this.#queue.suspend();
  }

  /**
   * The controller has stopped: no command will complete, and none writes to memory. What completed before counts; the
   * rest ends with an error.
   */
  endInflight(errno: number): void {
    this.#collect(true);
    this.#queue.inflight.forEach((request) => void (request.deviceStatus = DRIVER_ABORTED));
    this.#queue.failInflight(errno);
  }

  /** The controller works again, with empty queues. */
  resume(): void {
    if (this.#phase === "broken") return;
    this.#pair.reset();
    this.#phase = "running";
    this.#queue.resume();
  }

  /** The controller is given up: everything that waits ends with `errno`, and so does all that comes. */
  fail(errno: number): void {
    this.endInflight(errno);
    this.#phase = "broken";
    this.#queue.fail(errno);
    this.#queue.submit();
  }

  /** Gives the memory of queues and lists back; the controller must not know them any more. */
  dispose(): void {
    tearDown(() => this.#pair.dispose(), () => this.#prp.dispose());
  }

  #collect(stopped: boolean): boolean {
    if (this.#phase === "broken") return false;
    const count = this.#pair.collect(this.#onCompletion, stopped);
    if (count === 0) return false;
    const { stats } = this.#queue;
    stats.reapPasses++;
    stats.ffiCalls++;
    stats.doorbells = this.#pair.doorbells;
    return true;
  }

  #complete(cid: number, status: number): void {
    const { inflight, stats } = this.#queue;
    const request = inflight.find(cid, cid < inflight.capacity ? inflight.generation(cid) : 0);
    if (request === null) {
      stats.strayCompletions++;
      if (events.strayCompletion.hasSubscribers) events.strayCompletion.publish({ qid: this.qid, cid, status });
      return;
    }
    request.deviceStatus = status;
    const bytes = request.op <= Opcode.write ? request.attemptBytes : 0;
    this.#queue.handleResult(request, status === 0 ? bytes : -statusErrno(status));
  }
}
