import { Errno } from "../../core/base/errno.ts";
import { addHigh, addLow } from "../../core/base/memory.ts";
import { isUnknownOperation } from "../../core/request/range_fallback.ts";
import { hold, type IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import type { Engine, EngineQueue } from "../../core/queue/engine.ts";
import {
  BLKIO_CONSTANTS as B,
  COMPLETION_RESULT,
  COMPLETION_TAG,
  COMPLETION_WORDS,
  type QueuePort,
} from "../../ffi/libblkio/mod.ts";
import type { Disk } from "./disk.ts";
import { FileEnds } from "./file_ends.ts";
import type { Link } from "./server_link.ts";
import { BLKIO_EVENTS } from "./trace.ts";

/** Milliseconds between looks at a server that might have died, and at completions that no event told of. */
export const WATCH_MS = 100;

/** Zeroes as our other drivers make them: the range stays allocated. */
const ZEROES = B.BLKIO_REQ_NO_UNMAP.value;

/** The second way of discarding: zeroes that give the range back, and never by writing them. */
const ZEROES_BY_DISCARD = B.BLKIO_REQ_NO_FALLBACK.value;

/** What an engine waits with. */
interface BlkioEngineOptions {
  /** The other end that can die; null where there is none. */
  readonly link: Link | null;
  /** Sleeps until completions signal or the other end is gone; null where libblkio's own way of waiting is as good. */
  readonly sleeper?: Sleeper | null;
}

/** See ffi/wait_set.ts. */
interface Sleeper {
  /** Sleeps for at most `timeoutMs`. */
  sleep(timeoutMs: number): void;
}

/** One queue of libblkio, which answers 0 or −errno for each request: the end of a file is dealt with here. */
export class BlkioEngine implements Engine {
  /** libblkio keeps what it was given and would submit it later. */
  readonly keepsEntries = true;
  /** Messages of libblkio for requests that failed, until they are asked for. */
  readonly #messages = new WeakMap<IoRequest, string>();
  readonly #port: QueuePort;
  readonly #disk: Disk;
  readonly #link: Link | null;
  #sleeper: Sleeper | null;
  #queue!: EngineQueue;
  /** Null for a disk, of which the end is known. */
  #ends: FileEnds | null = null;
  #queued = 0;
  /** Completions that a look has found and `reap` has not passed on. */
  #found = 0;
  #event = true;
  #armed = false;

  /** Makes the engine of `port`, which it uses alone. */
  constructor(port: QueuePort, disk: Disk, { link, sleeper = null }: BlkioEngineOptions) {
    this.#port = port;
    this.#disk = disk;
    this.#link = link;
    this.#sleeper = sleeper;
    if (sleeper !== null) port.setEventEnabled(true);
  }

  attach(queue: EngineQueue): void {
    this.#queue = queue;
    const disk = this.#disk;
    if (disk.capacityBytes === Infinity) this.#ends = new FileEnds(() => disk.end(), queue.inflight.capacity);
  }

  get queued(): number {
    return this.#queued;
  }

  /** Requests whose completion is owed. */
  active(): number {
    return this.#queue.active();
  }

  /** No event reaches the event loop: the completion loop has to look. */
  withoutEvent(): void {
    this.#event = false;
  }

  arm(): boolean {
    // Drivers may start with events off, so they are enabled each time before a wait.
    if (this.#event) this.#port.setEventEnabled(true);
    this.#armed = this.#event;
    return this.#event;
  }

  disarm(): void {
    this.#armed = false;
    this.#port.setEventEnabled(false);
  }

  /** libblkio's message for a request that has just failed, or undefined where it had none. */
  takeMessage(request: IoRequest): string | undefined {
    const message = this.#messages.get(request);
    this.#messages.delete(request);
    return message;
  }

  /** True when completions are there while the event loop waits for an event to tell of them. */
  overlooked(): boolean {
    return this.#armed && this.#queue.ready();
  }

  /** True, with every request failed, when the other end is gone. */
  checkLink(): boolean {
    const queue = this.#queue;
    if (queue.broken || this.#link === null || !this.#link.hasHungUp()) return queue.broken;
    queue.fail(Errno.ECONNRESET);
    queue.submit();
    return true;
  }

  makeRoom(): boolean {
    return true;
  }

  available(): number {
    // There is no cheaper way to look than to ask libblkio for them.
    this.#look();
    return this.#found;
  }

  commit(): number {
    this.#announce();
    return this.#count(this.#port.submit());
  }

  getevents(min: number): number {
    if (min === 0) {
      this.#look();
      return 0;
    }
    if (this.#found > 0 || this.#queue.broken) return 0;
    this.#announce();
    const result = this.#sleeper !== null && min === 1
      ? this.#submitAndSleep(this.#sleeper)
      : this.#count(this.#port.wait(min, this.#link === null ? 0 : WATCH_MS));
    if (result >= 0) this.#found = result;
    if (result !== -Errno.ETIME) return result;
    this.checkLink();
    return 0;
  }

  /** Submits and finds what has completed, without waiting. */
  #look(): void {
    if (this.#found > 0 || this.#queue.broken) return;
    this.#announce();
    const result = this.#count(this.#port.doIo());
    if (result < 0) this.#queue.refusals.submitFailed(result);
    else this.#found = result;
  }

  /**
   * The same for one completion, with a sleep of our own: one system call instead of libblkio's two, which reads the
   * descriptor after it has waited for it, and the end of a server is seen at once.
   */
  #submitAndSleep(sleeper: Sleeper): number {
    const found = this.#count(this.#port.doIo());
    if (found !== 0) return found;
    try {
      sleeper.sleep(WATCH_MS);
    } catch {
      // Without it as before: libblkio waits, and the watch looks after the server.
      this.#sleeper = null;
    }
    return this.#count(this.#port.doIo()) || -Errno.ETIME;
  }

  reap(): boolean {
    const queue = this.#queue;
    // Not between two parts of a delivery: a look costs a call, and what it would find comes after them.
    if (!queue.owesRest) this.#look();
    const count = this.#found;
    if (count === 0) return false;
    this.#found = 0;
    queue.stats.reapPasses++;
    const { completions } = this.#port;
    this.#ends?.startPass();
    for (let index = 0; index < count; index++) {
      const at = index * COMPLETION_WORDS;
      const slot = completions[at + COMPLETION_TAG]!;
      const request = queue.inflight.find(slot, queue.inflight.generation(slot));
      if (request === null) continue;
      const result = completions[at + COMPLETION_RESULT]!;
      if (result < 0) {
        this.#keepMessage(request, index);
        const again = result === -Errno.EINVAL && request.op === Opcode.read && this.#ends?.wentOver(slot) === true;
        queue.handleResult(request, again ? -Errno.EAGAIN : result);
      } else {
        queue.handleResult(request, this.#bytesOf(request, slot));
      }
    }
    return true;
  }

  prep(request: IoRequest): void {
    if (request.op <= Opcode.write) this.#prepTransfer(request);
    else this.#prepRange(request);
  }

  /** libblkio has no cancel: the request completes when it does. */
  cancel(): void {}

  takeBack(visit: (request: IoRequest) => void): void {
    this.#queued = 0;
    this.#found = 0;
    const remote = this.#link !== null;
    this.#queue.inflight.forEach((request) => {
      // libblkio does not tell which of them the kernel has. Their memory is never given back, so that it cannot be reused
      // while it is written to; the memory of a server that is gone is a file of which it had its own mapping.
      if (!remote) hold(request);
      visit(request);
    });
  }

  goesOn(request: IoRequest): boolean {
    const { op, result } = request;
    if (op <= Opcode.write || op === Opcode.nop || op === Opcode.flush) return false;
    if (result < 0) return this.#fallBack(request);
    if (op === Opcode.writeZeroes && this.#disk.capacityBytes === Infinity && request.fellBack) {
      // Punching, unlike zeroing, does not grow a file.
      request.result = this.#disk.growTo(request.offset + request.length);
    }
    return false;
  }

  /** The fallback for a range operation that the driver does not know; false when there is none. */
  #fallBack(request: IoRequest): boolean {
    if (!isUnknownOperation(-request.result) || request.fellBack) return false;
    request.fellBack = true;
    return true;
  }

  /** Bytes that an attempt has transferred, or −errno. */
  #bytesOf(request: IoRequest, slot: number): number {
    const bytes = request.attemptBytes;
    if (this.#ends === null || request.op !== Opcode.read) return bytes;
    return this.#ends.bytesOf(slot, request.offset + request.done, bytes);
  }

  #prepTransfer(request: IoRequest): void {
    const { done, op, slot, attemptBytes: bytes } = request;
    const start = request.offset + done;
    const ends = op === Opcode.read ? this.#ends : null;
    const looked = ends === null ? 0 : ends.look(start + bytes);
    if (looked < 0) return this.#queue.handleResult(request, looked);
    this.#countEntry();
    ends?.beforeRead(slot, start + bytes);
    const flags = op === Opcode.write && (request.flags & RequestFlag.fua) !== 0 ? B.BLKIO_REQ_FUA.value : 0;
    if (request.iovecs !== null) return this.#transferVector(request, start, bytes, flags);
    const low = addLow(request.addressLow, done);
    const high = addHigh(request.addressLow, request.addressHigh, done);
    if (op === Opcode.read) this.#port.read(start, low, high, bytes, slot);
    else this.#port.write(start, low, high, bytes, slot, flags);
  }

  #transferVector(request: IoRequest, start: number, bytes: number, flags: number): void {
    const table = request.iovecs!;
    table.write(request.done, bytes);
    const { addressLow, addressHigh, count } = table;
    if (request.op === Opcode.read) this.#port.readv(start, addressLow, addressHigh, count, request.slot);
    else this.#port.writev(start, addressLow, addressHigh, count, request.slot, flags);
  }

  #prepRange(request: IoRequest): void {
    const { op, slot, fellBack } = request;
    // There is no such request in libblkio: it goes the way of the others up to here.
    if (op === Opcode.nop) return this.#queue.handleResult(request, 0);
    this.#countEntry();
    if (op === Opcode.flush) return this.#port.flush(slot);
    const start = request.offset + request.done;
    if (fellBack) request.attemptBytes = Math.min(request.attemptBytes, this.#disk.maxZeroesBytes);
    const bytes = request.attemptBytes;
    if (op === Opcode.discard && !fellBack) this.#port.discard(start, bytes, slot);
    else this.#port.writeZeroes(start, bytes, slot, fellBack ? ZEROES_BY_DISCARD : ZEROES);
  }

  #countEntry(): void {
    this.#queued++;
    this.#queue.stats.ffiCalls++;
  }

  #announce(): void {
    const { doSubmit } = BLKIO_EVENTS;
    if (doSubmit.hasSubscribers) doSubmit.publish({ queued: this.#queued, inflight: this.#queue.inflight.size });
  }

  /** Counts a call of do_io, which has taken what was queued unless it failed. */
  #count(result: number): number {
    const { stats, inflight } = this.#queue;
    const queued = this.#queued;
    stats.ffiCalls++;
    // Also after a time-out: what was queued has been submitted by then.
    if (queued > 0 && (result >= 0 || result === -Errno.ETIME)) {
      this.#queued = 0;
      stats.submits++;
      stats.submittedEntries += queued;
      stats.depthSum += inflight.size;
    }
    const { doSubmitDone } = BLKIO_EVENTS;
    if (doSubmitDone.hasSubscribers) doSubmitDone.publish({ result: result < 0 ? result : queued });
    return result;
  }

  #keepMessage(request: IoRequest, index: number): void {
    const message = this.#port.messageAt(index);
    if (message !== null) this.#messages.set(request, message);
  }
}
