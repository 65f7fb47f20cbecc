import { Errno } from "../../core/base/errno.ts";
import { Fifo } from "../../core/queue/fifo.ts";
import { CompletedList, completeRequest } from "../../core/queue/completed_list.ts";
import { InflightTable } from "../../core/request/inflight.ts";
import { invariant } from "../../core/base/invariant.ts";
import { applyResult } from "../../core/request/apply_result.ts";
import type { CompletionLoop, CompletionSource } from "../../core/queue/completion_loop.ts";
import { beginRequest, type IoRequest, Opcode, RequestState } from "../../core/request/request.ts";
import { newQueueStats, type QueueStats } from "../../core/queue/stats.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { NVME_EVENTS as events } from "../../core/queue/trace.ts";
import { IoCommand, writeIoCommand } from "./commands.ts";
import type { QueueHost } from "./host.ts";
import type { NamespaceTarget } from "./namespace.ts";
import type { PrpBuilder } from "./prp.ts";
import type { QueuePair } from "./queue_pair.ts";
import { DRIVER_ABORTED, statusErrno } from "./status.ts";

/** What a queue tells the rest of its Worker. */
type QueueObserver = Pick<CompletionLoop, "started" | "submitted">;

/** Looks at the completion queue between two looks after the controller while polling: reading the clock costs. */
const LOOKS_PER_CHECK = 4096;

/**
 * The requests of one Worker on one pair of queues: written as commands when they come, announced by one doorbell,
 * completed in passes. A request has at most one command with the controller; what is longer than a command may be goes
 * on when the first part is done.
 *
 * A request is in exactly one place: waiting (no slot), in a slot, or finished (result known, callback owed).
 */
export class NvmeQueue implements CompletionSource {
  /** Counters, live. */
  readonly stats: QueueStats = newQueueStats();
  /** Commands with the controller at most. */
  readonly maxInflight: number;
  /** Queue identifier. */
  readonly qid: number;
  readonly #pair: QueuePair;
  readonly #prp: PrpBuilder;
  readonly #host: QueueHost;
  readonly #inflight: InflightTable;
  /** Bytes that the command of each slot is about. */
  readonly #slotBytes: Float64Array;
  /** Value of the tick counter when each slot's command was written: the age of a command, without a clock per I/O. */
  readonly #slotTicks: Int32Array;
  readonly #waiting = new Fifo<IoRequest>();
  readonly #finished = new CompletedList();
  readonly #command = new IoCommand();
  readonly #deliverOne = (request: IoRequest) => this.#deliver(request);
  readonly #onCompletion = (cid: number, status: number) => this.#complete(cid, status);
  #observer: QueueObserver | null = null;
  #active = 0;
  #reaping = false;
  #tick = 0;
  #phase: "running" | "suspended" | "broken" = "running";
  #errno = 0;

  /** Makes the queue over `pair`, with one command less in flight than it has entries. */
  constructor(pair: QueuePair, prp: PrpBuilder, host: QueueHost) {
    this.#pair = pair;
    this.#prp = prp;
    this.#host = host;
    this.qid = pair.qid;
    this.maxInflight = pair.entries - 1;
    this.#inflight = new InflightTable(this.maxInflight);
    this.#slotBytes = new Float64Array(this.maxInflight);
    this.#slotTicks = new Int32Array(this.maxInflight);
  }

  /** Tells `observer` of what happens from now on. */
  observe(observer: QueueObserver): void {
    this.#observer = observer;
  }

  /** True once the controller is given up. */
  get broken(): boolean {
    return this.#phase === "broken";
  }

  /** Takes a request; its doorbell is up to the caller's deferred call. */
  enqueue(request: IoRequest, target: NamespaceTarget): void {
    beginRequest(request, target);
    target.active++;
    this.stats.requests++;
    if (this.#active++ === 0) this.#observer?.started();
    if (this.#phase === "broken") this.#finish(request, -this.#errno);
    else if (this.#waiting.size > 0 || !this.#prepare(request)) this.#waiting.push(request);
  }

  /** Announces everything queued with one doorbell; idempotent, the body of the deferred call. */
  submit(): void {
    this.#fill();
    this.#kick();
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** Asks the controller to give `request` up. It completes in any case. */
  cancel(request: IoRequest): void {
    if (request.state !== RequestState.active || request.cancelled) return;
    request.cancelled = true;
    if (request.slot < 0) {
      if (this.#waiting.remove(request)) this.#finish(request, -Errno.ECANCELED);
    } else {
      // A command that the controller has not been told of cannot be aborted.
      this.#kick();
      this.#host.abort(this.qid, request.slot);
    }
    this.submit();
  }

  ready(): boolean {
    return this.#finished.count > 0 || this.#pair.ready();
  }

  active(): number {
    return this.#active;
  }

  arm(): boolean {
    return this.#host.armInterrupt();
  }

  /** The vector fires with each batch of completions, whether somebody waits or not. */
  disarm(): void {}

  block(): boolean {
    this.#fill();
    this.#kick();
    if (this.ready()) return false;
    this.#host.waitForInterrupt();
    return true;
  }

  /** Waits by interrupt, or by looking with `spin`, delivers, announces what the callbacks queued; until `done`. */
  run(done: () => boolean, minCompletions: number, spin: boolean): void {
    invariant(!this.#reaping, "Cannot run() inside a completion callback: wanted a call from outside");
    while (!done() && this.#active > 0) {
      this.#fill();
      this.#kick();
      this.#waitFor(minCompletions, spin);
      this.reap();
    }
  }

  /** Announces and delivers without waiting; returns how many requests completed. */
  poll(): number {
    this.#fill();
    this.#kick();
    return this.reap();
  }

  reap(limit = Infinity): number {
    if (this.#reaping) return 0;
    this.#reaping = true;
    try {
      this.#collect();
      const count = this.#finished.count > 0 ? this.#finished.drainPlugged(this.#deliverOne, limit) : 0;
      // Completion paths announce leftovers even inside a section: nobody else might, for as long as it lasts.
      this.#fill();
      this.#kick();
      return count;
    } finally {
      this.#reaping = false;
    }
  }

  /** One step of the clock of commands; `onOld` gets each one of exactly `abortAge` or at least `resetAge` ticks. */
  tick(abortAge: number, resetAge: number, onOld: (cid: number, tooOld: boolean) => void): void {
    this.#tick++;
    this.#inflight.forEach(({ slot }) => {
      const age = this.#tick - this.#slotTicks[slot]!;
      if (age === abortAge) onOld(slot, false);
      else if (age >= resetAge) onOld(slot, true);
    });
  }

  /** The controller is about to be reset: nothing is written or announced any more. */
  suspend(): void {
    if (this.#phase === "running") this.#phase = "suspended";
  }

  /**
   * The controller has stopped: no command will complete, and none writes to memory. What completed before counts; the
   * rest ends with an error.
   */
  endInflight(errno: number): void {
    this.#collect(true);
    this.#inflight.forEach((request) => {
      request.deviceStatus = DRIVER_ABORTED;
      this.#finish(request, -errno);
    });
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** The controller works again, with empty queues. */
  resume(): void {
    if (this.#phase === "broken") return;
    this.#pair.reset();
    this.#phase = "running";
    this.submit();
  }

  /** The controller is given up: everything that waits ends with `errno`, and so does all that comes. */
  fail(errno: number): void {
    this.endInflight(errno);
    this.#phase = "broken";
    this.#errno = errno;
    for (let next = this.#waiting.shift(); next !== null; next = this.#waiting.shift()) this.#finish(next, -errno);
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** Gives the memory of queues and lists back; the controller must not know them any more. */
  dispose(): void {
    tearDown(() => this.#pair.dispose(), () => this.#prp.dispose());
  }

  #waitFor(minCompletions: number, spin: boolean): void {
    const ahead = Math.min(minCompletions, this.#inflight.size) - 1;
    for (let looks = 1; this.#finished.count === 0 && this.#active > 0; looks++) {
      if (ahead >= 0 && this.#pair.ready(ahead)) return;
      if (!spin) this.#host.waitForInterrupt();
      else if (looks % LOOKS_PER_CHECK === 0) this.#host.lookAfter();
      // After a reset fewer are in flight than were, or none.
      if (this.#inflight.size <= ahead || ahead < 0) return;
    }
  }

  #fill(): void {
    while (this.#waiting.size > 0) {
      const request = this.#waiting.shift()!;
      if (this.#prepare(request)) continue;
      this.#waiting.unshift(request);
      return;
    }
  }

  #kick(): void {
    if (this.#phase !== "running") return;
    const count = this.#pair.kick();
    if (count === 0) return;
    this.stats.submits++;
    this.stats.ffiCalls++;
    this.stats.submittedEntries += count;
    this.stats.depthSum += this.#inflight.size;
    this.stats.doorbells = this.#pair.doorbells;
    if (events.kick.hasSubscribers) events.kick.publish({ qid: this.qid, count, inflight: this.#inflight.size });
  }

  /** Writes the next command of `request`, or finishes it; false when it has to wait. */
  #prepare(request: IoRequest): boolean {
    const target = request.owner as NamespaceTarget;
    const { op } = request;
    if (op === Opcode.nop) return this.#finish(request, 0);
    const maxBytes = target.maxBytes[op]!;
    const start = request.offset + request.done;
    let bytes = 0;
    if (op !== Opcode.flush) {
      if (maxBytes === 0) return this.#finish(request, -Errno.EOPNOTSUPP);
      const left = request.length - request.done;
      bytes = Math.min(left, maxBytes, target.sizeBytes - start);
      if (bytes <= 0 || (op > Opcode.write && start + left > target.sizeBytes)) return this.#pastTheEnd(request);
    }
    if (this.#phase !== "running" || this.#inflight.full) return false;
    const slot = this.#inflight.insert(request);
    const command = this.#command;
    if (op <= Opcode.write) bytes = this.#prp.plan(request, slot, bytes);
    command.cid = slot;
    command.nsid = target.nsid;
    command.firstBlock = start / 2 ** target.blockShift;
    command.blockCount = bytes / 2 ** target.blockShift;
    if (op === Opcode.discard) this.#prp.planRange(slot, command.firstBlock, command.blockCount);
    this.#slotBytes[slot] = bytes;
    this.#slotTicks[slot] = this.#tick;
    writeIoCommand(this.#pair.sq, this.#pair.push(), request, this.#prp, command);
    return true;
  }

  /** A read or write that begins at the end of the namespace: what the rest of the house does at an end. */
  #pastTheEnd(request: IoRequest): true {
    if (request.op > Opcode.write) return this.#finish(request, request.length === 0 ? 0 : -Errno.EINVAL);
    applyResult(request, 0, this.stats);
    return this.#finish(request, request.result);
  }

  #collect(stopped = false): void {
    if (this.#phase === "broken") return;
    const count = this.#pair.collect(this.#onCompletion, stopped);
    if (count === 0) return;
    this.stats.reapPasses++;
    this.stats.ffiCalls++;
    this.stats.doorbells = this.#pair.doorbells;
  }

  #complete(cid: number, status: number): void {
    const request = cid < this.maxInflight ? this.#inflight.find(cid, this.#inflight.generation(cid)) : null;
    if (request === null) {
      this.stats.strayCompletions++;
      if (events.strayCompletion.hasSubscribers) events.strayCompletion.publish({ qid: this.qid, cid, status });
      return;
    }
    const bytes = this.#slotBytes[cid]!;
    this.#inflight.remove(request);
    if (this.#applyStatus(request, status, bytes)) this.#finish(request, request.result);
    // A slot is free now, so this fails only while the controller is being reset.
    else if (!this.#prepare(request)) this.#waiting.unshift(request);
  }

  /** True when the request is finished, with its result set. */
  #applyStatus(request: IoRequest, status: number, bytes: number): boolean {
    request.deviceStatus = status;
    if (status !== 0) return applyResult(request, -statusErrno(status), this.stats);
    if (request.op <= Opcode.write || request.op === Opcode.flush) return applyResult(request, bytes, this.stats);
    request.done += bytes;
    request.result = request.cancelled && request.done < request.length ? -Errno.ECANCELED : 0;
    return request.done >= request.length || request.cancelled;
  }

  #finish(request: IoRequest, result: number): true {
    request.result = result;
    if (request.slot >= 0) this.#inflight.remove(request);
    this.#finished.add(request);
    return true;
  }

  #deliver(request: IoRequest): void {
    const target = request.owner as NamespaceTarget;
    if (events.completeCommand.hasSubscribers) events.completeCommand.publish({ request, result: request.result });
    this.stats.completions++;
    if (request.result < 0) this.stats.errors++;
    this.#active--;
    if (--target.active === 0 && target.onIdle !== null) target.onIdle();
    completeRequest(request);
  }
}
