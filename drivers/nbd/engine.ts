import type { OwnedMemory } from "../../core/base/memory.ts";
import { Errno } from "../../core/base/errno.ts";
import type { Engine, EngineQueue } from "../../core/queue/engine.ts";
import type { ExportFacts } from "../../core/nbd/handshake.ts";
import { ExportFlag } from "../../core/nbd/protocol.ts";
import { type IoRequest, Opcode } from "../../core/request/request.ts";
import { AlignedMemory } from "../../ffi/memory.ts";
import { closeSocket } from "../../ffi/stream_socket.ts";
import type { SocketWatch } from "../../ffi/socket_watch.ts";
import { type ConnectionHost, ConnectionLost, NbdConnection } from "./connection.ts";
import type { Dialled } from "./dial.ts";
import { Durability } from "./durability.ts";
import { NBD_EVENTS } from "./trace.ts";
import { isDurable, wireRequestOf } from "./wire.ts";

/** Memory that zeroes are written from. */
const ZERO_BYTES = 65_536;

/** Sleeps after which the caller looks at the queue again: a signal ends one, and so does a part of an answer. */
const WAIT_ATTEMPTS = 64;

/** Milliseconds of one look while a connection is made anew on a thread that blocks. */
const REDIAL_LOOK_MS = 10;

/** What makes lost connections anew. */
export interface Redialler {
  /** Milliseconds that it may take; 0 where it is not done. */
  readonly reconnectMs: number;
  /** Begins: calls `resume` or `fail` of the engine in the end. */
  begin(): void;
  /** Goes on, and waits on this thread for at most `waitMs`. */
  advance(waitMs: number): void;
}

/** What a device is told by its engine. */
interface NbdEngineOptions {
  readonly watch: SocketWatch;
  readonly facts: ExportFacts;
  /** Completions are looked for in the socket whenever the queue looks: with wait `poll`. */
  readonly looks: boolean;
}

/**
 * Requests of one device on one or more connections to a server. Commits are one send for each connection that has something;
 * answers are parsed out of what one receive brings.
 */
export class NbdEngine implements Engine, ConnectionHost {
  readonly keepsEntries = false;
  readonly zeroes: OwnedMemory = new AlignedMemory(ZERO_BYTES);
  /** What makes lost connections anew; set before the first request. */
  redialler: Redialler | null = null;
  readonly #watch: SocketWatch;
  readonly #facts: ExportFacts;
  readonly #looks: boolean;
  queue!: EngineQueue;
  #connections: NbdConnection[] = [];
  #turn = 0;
  #durability!: Durability;
  #phase: "up" | "down" | "broken" = "down";
  /** Answers that were taken in and not passed on: slots, generations, results. */
  readonly #answers: number[] = [];
  #failure: Error | null = null;

  /** Makes the engine; it works once it has connections. */
  constructor({ watch, facts, looks }: NbdEngineOptions) {
    this.#watch = watch;
    this.#facts = facts;
    this.#looks = looks;
  }

  attach(queue: EngineQueue): void {
    this.queue = queue;
    this.#durability = new Durability(queue.inflight.capacity);
  }

  /** Why the device is broken, or the connection was lost the last time; null where neither is. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Takes over connections, to be called again when they have been made anew. */
  use(dialled: readonly Dialled[]): void {
    this.#connections = dialled.map((each) => new NbdConnection(each, this));
    for (const { fd } of this.#connections) this.#watch.add(fd);
    this.#phase = "up";
    try {
      for (const connection of this.#connections) connection.begin();
    } catch (error) {
      this.#caught(error);
    }
  }

  /** The connections are there again: what waits goes out. */
  resume(dialled: readonly Dialled[]): void {
    if (this.#phase !== "down") {
      for (const { fd } of dialled) closeSocket(fd);
      return;
    }
    this.use(dialled);
    this.queue.resume();
  }

  /** There will be no connection any more: everything ends with the errno of `error`. Idempotent. */
  fail(error: ConnectionLost): void {
    if (this.#phase === "broken") return;
    this.#failure = error;
    this.#phase = "broken";
    this.#disconnect();
    this.#passOn();
    this.queue.fail(error.errno);
    this.queue.failInflight(error.errno);
    this.queue.submit();
  }

  /** Ends the connections in an orderly way: nothing is in flight. */
  close(): void {
    this.#phase = "broken";
    for (const connection of this.#connections) connection.sayGoodbye();
    this.#disconnect();
    this.zeroes[Symbol.dispose]();
  }

  get queued(): number {
    let queued = 0;
    for (const { sending } of this.#connections) queued += sending.queued;
    return queued;
  }

  makeRoom(): boolean {
    return this.#phase === "up";
  }

  prep(request: IoRequest): void {
    const { op } = request;
    const { flags } = this.#facts;
    if (op === Opcode.nop) return this.queue.handleResult(request, 0);
    const isFlush = op === Opcode.flush || request.flushing;
    const canFlush = (flags & ExportFlag.sendFlush) !== 0;
    if (isFlush && !canFlush) return this.queue.handleResult(request, this.#unflushable());
    if (isDurable(request) && !canFlush && (flags & ExportFlag.sendFua) === 0) {
      return this.queue.handleResult(request, -Errno.EOPNOTSUPP);
    }
    if (op === Opcode.flush && this.#durability.takeLoss()) return this.queue.handleResult(request, -Errno.EIO);
    if (isFlush) this.#durability.flushes(request);
    const connection = this.#connections[this.#turn]!;
    if (++this.#turn === this.#connections.length) this.#turn = 0;
    connection.sending.push(request, this.queue.inflight.generation(request.slot), wireRequestOf(request, this.#facts));
  }

  commit(): number {
    if (this.#phase !== "up") return 0;
    try {
      this.#sendAll();
    } catch (error) {
      this.#caught(error);
    }
    return 0;
  }

  getevents(min: number): number {
    const { queue } = this;
    if (this.#phase === "down") this.#redial(min);
    if (this.#phase !== "up") return 0;
    this.commit();
    if (min === 0) this.#look();
    for (let attempt = 0; attempt < WAIT_ATTEMPTS && this.#phase === "up"; attempt++) {
      if (this.#answers.length / ANSWER_WORDS >= min || queue.owesCallbacks || queue.inflight.size === 0) break;
      this.#sleep();
    }
    return 0;
  }

  available(): number {
    if (this.#answers.length === 0 && this.#looks && this.queue.inflight.size > 0) this.#look();
    return this.#answers.length / ANSWER_WORDS;
  }

  reap(): boolean {
    if (this.#answers.length === 0) return false;
    this.#passOn();
    this.queue.stats.reapPasses++;
    return true;
  }

  /** Only what has not gone out: NBD has no command that ends another. */
  cancel(request: IoRequest): void {
    for (const { sending } of this.#connections) {
      if (sending.remove(request)) return this.queue.finish(request, -Errno.ECANCELED);
    }
  }

  takeBack(visit: (request: IoRequest) => void): void {
    for (const { sending } of this.#connections) sending.takeBack(visit);
  }

  /** A write that was to be durable, and is written, needs a flush where the server has no FUA. */
  goesOn(request: IoRequest): boolean {
    if (request.flushing || !isDurable(request) || request.result < 0) return false;
    if ((this.#facts.flags & ExportFlag.sendFua) !== 0) return false;
    request.flushing = true;
    return true;
  }

  arm(): boolean {
    return this.#watch.arm();
  }

  /** A watch that fires although its answers have been found is a wake-up for nothing, and rare. */
  disarm(): void {}

  /** To be called when a socket is ready: takes in what is there, and sends what had to wait. */
  woken(): void {
    if (this.#phase === "up") this.#look();
  }

  answered(slot: number, generation: number, request: IoRequest, result: number): void {
    const { op } = request;
    if (result >= 0 && op !== Opcode.read) {
      if (op === Opcode.flush || request.flushing) this.#durability.flushed(request);
      else if (!isDurable(request) || (this.#facts.flags & ExportFlag.sendFua) === 0) this.#durability.wrote();
    }
    this.#answers.push(slot, generation, result);
  }

  /** A read-only export has nothing to flush; any other that cannot is not trusted with a promise. */
  #unflushable(): number {
    return (this.#facts.flags & ExportFlag.readOnly) !== 0 ? 0 : -Errno.EOPNOTSUPP;
  }

  #sendAll(): void {
    const { doSubmit, doSubmitDone } = NBD_EVENTS;
    const { stats, inflight } = this.queue;
    const before = stats.submits;
    if (doSubmit.hasSubscribers) doSubmit.publish({ queued: this.queued, inflight: inflight.size });
    for (const connection of this.#connections) {
      const wasBlocked = connection.sending.blocked;
      connection.send();
      const isBlocked = connection.sending.blocked;
      if (isBlocked !== wasBlocked) this.#watch.interest(connection.fd, true, isBlocked);
    }
    stats.depthSum += (stats.submits - before) * (inflight.size - this.queued);
    if (doSubmitDone.hasSubscribers) doSubmitDone.publish({ result: stats.submits - before });
  }

  /** Takes in what is there, and sends what had to wait. */
  #look(): void {
    if (this.#phase !== "up") return;
    try {
      let isBlocked = false;
      for (const connection of this.#connections) {
        while (connection.receive(false));
        isBlocked ||= connection.sending.blocked;
      }
      if (isBlocked) this.#sendAll();
    } catch (error) {
      this.#caught(error);
    }
  }

  /** Sleeps until something has come or can be sent, or a signal comes. */
  #sleep(): void {
    const only = this.#connections.length === 1 ? this.#connections[0]! : null;
    if (only === null || only.sending.blocked) {
      this.#watch.sleep(-1);
      return this.#look();
    }
    try {
      only.receive(true);
    } catch (error) {
      this.#caught(error);
    }
  }

  /** Makes the connection anew on this thread, for a look or a while. */
  #redial(min: number): void {
    this.redialler!.advance(min === 0 ? 0 : REDIAL_LOOK_MS);
  }

  #passOn(): void {
    const answers = this.#answers;
    for (let at = 0; at < answers.length; at += ANSWER_WORDS) {
      this.queue.complete(answers[at]!, answers[at + 1]!, answers[at + 2]!);
    }
    answers.length = 0;
  }

  #caught(error: unknown): void {
    if (!(error instanceof ConnectionLost)) throw error;
    this.#lost(error);
  }

  #lost(error: ConnectionLost): void {
    if (this.#phase !== "up") return;
    const { redialler } = this;
    if (redialler === null || redialler.reconnectMs === 0 || error.errno === Errno.EPROTO) return this.fail(error);
    this.#failure = error;
    this.#phase = "down";
    this.#disconnect();
    this.queue.suspend();
    this.#passOn();
    const isLossy = this.#durability.connectionLost();
    const inflight: IoRequest[] = [];
    this.queue.inflight.forEach((request) => void inflight.push(request));
    let hasTold = false;
    // Each goes to the front of those that wait: the first one last.
    for (const request of inflight.reverse()) {
      if (isLossy && request.op === Opcode.flush) {
        hasTold = true;
        this.queue.handleResult(request, -Errno.EIO);
        continue;
      }
      // What was written may be lost, too, where its flush is not answered: once more from the beginning.
      if (request.flushing) request.done = 0;
      request.flushing = false;
      this.queue.handleResult(request, -Errno.EAGAIN);
    }
    if (hasTold) this.#durability.takeLoss();
    redialler.begin();
    this.queue.submit();
  }

  #disconnect(): void {
    for (const connection of this.#connections) {
      this.#watch.remove(connection.fd);
      connection[Symbol.dispose]();
    }
    this.#connections = [];
    this.#turn = 0;
  }
}

/** Numbers of one answer in the list. */
const ANSWER_WORDS = 3;
