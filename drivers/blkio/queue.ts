import { Errno } from "../../core/base/errno.ts";
import { addHigh, addLow } from "../../core/base/memory.ts";
import { pause } from "../../core/base/pause.ts";
import { isUnknownOperation } from "../../core/request/range_fallback.ts";
import { type IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import { type QueueOwner, RequestQueue, type RequestQueueOptions } from "../../core/queue/request_queue.ts";
import { BLKIO_EVENTS } from "../../core/queue/trace.ts";
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

/** Milliseconds between looks at a server that might have died, and at completions that no event told of. */
export const WATCH_MS = 100;

/** Zeroes as our other drivers make them: the range stays allocated. */
const ZEROES = B.BLKIO_REQ_NO_UNMAP.value;

/** The second way of discarding: zeroes that give the range back, and never by writing them. */
const ZEROES_BY_DISCARD = B.BLKIO_REQ_NO_FALLBACK.value;

/** How a queue is set up: see {@link RequestQueueOptions}. */
export interface BlkioQueueOptions extends Omit<RequestQueueOptions, "events"> {
  /** The other end that can die; null where there is none. */
  readonly link: Link | null;
  /** Sleeps until completions signal or the other end is gone; null where libblkio's own way of waiting is as good. */
  readonly sleeper?: Sleeper | null;
}

/** See ffi/wait_set.ts. */
export interface Sleeper {
  /** Sleeps for at most `timeoutMs`. */
  sleep(timeoutMs: number): void;
}

/**
 * The requests of one device on one queue of libblkio. libblkio answers 0 or −errno for each; bytes, the end of a file
 * and of a disk, and lengths beyond the other end's limits are dealt with here, by pieces.
 */
export class BlkioQueue extends RequestQueue<QueueOwner> {
  /** Messages of libblkio for requests that failed, until they are asked for. */
  readonly #messages = new WeakMap<IoRequest, string>();
  readonly #port: QueuePort;
  readonly #disk: Disk;
  readonly #link: Link | null;
  #sleeper: Sleeper | null;
  /** Bytes that the request in a slot transfers in this attempt. */
  readonly #pieces: Float64Array;
  /** Null for a disk, of which the end is known. */
  readonly #ends: FileEnds | null;
  #queued = 0;
  /** Completions that a look has found and `collect` has not seen. */
  #found = 0;
  #event = true;
  #armed = false;

  /** Makes the queue behind `port`, which it uses alone. */
  constructor(port: QueuePort, disk: Disk, options: BlkioQueueOptions) {
    const { link, sleeper = null, ...rest } = options;
    super({ ...rest, events: BLKIO_EVENTS });
    this.#port = port;
    this.#disk = disk;
    this.#link = link;
    this.#sleeper = sleeper;
    if (sleeper !== null) port.setEventEnabled(true);
    this.#pieces = new Float64Array(this.maxInflight);
    this.#ends = disk.capacityBytes === Infinity ? new FileEnds(() => disk.end(), this.maxInflight) : null;
  }

  get queued(): number {
    return this.#queued;
  }

  /** No event reaches the event loop: the completion loop has to look. */
  withoutEvent(): void {
    this.#event = false;
  }

  arm(): boolean {
    // Drivers may start with events off, so they are enabled each time somebody is about to wait.
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

  /** True when completions are there while somebody waits for an event to tell of them. */
  overlooked(): boolean {
    return this.#armed && this.ready();
  }

  /** True, with every request failed, when the other end is gone. */
  checkLink(): boolean {
    if (this.broken || this.#link === null || !this.#link.hasHungUp()) return this.broken;
    this.fail(Errno.ECONNRESET);
    this.submit();
    return true;
  }

  protected available(): number {
    // There is no cheaper way to look than to ask libblkio for them.
    if (this.#found === 0) this.enterOnce();
    return this.#found;
  }

  protected enterAll(): void {
    this.#announce();
    const result = this.#count(this.#port.submit());
    if (result < 0) this.#failed(result);
  }

  protected enterOnce(): void {
    if (this.#found > 0 || this.broken) return;
    this.#announce();
    const result = this.#count(this.#port.doIo());
    if (result < 0) this.#failed(result);
    else this.#found = result;
  }

  protected enterAndWait(minCompletions: number): void {
    if (this.#found > 0 || this.broken) return;
    this.#announce();
    const result = this.#sleeper !== null && minCompletions === 1
      ? this.#enterAndSleep(this.#sleeper)
      : this.#count(this.#port.wait(minCompletions, this.#link === null ? 0 : WATCH_MS));
    if (result >= 0) this.#found = result;
    else if (result === -Errno.ETIME) this.checkLink();
    else if (!isRefusal(result)) this.fail(-result);
    else if (this.inflight.size > this.#queued || !this.gaveUp(-result)) pause();
  }

  /**
   * The same for one completion, with a sleep of our own: one system call instead of libblkio's two, which reads the
   * descriptor after it has waited for it, and the end of a server is seen at once.
   */
  #enterAndSleep(sleeper: Sleeper): number {
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

  protected collect(): boolean {
    // Between two shares of a delivery nobody looks: a look costs a call, and what it would find comes after them.
    if (this.#found === 0 && !this.owesShares) this.enterOnce();
    const count = this.#found;
    if (count === 0) return false;
    this.#found = 0;
    this.stats.reapPasses++;
    const { completions } = this.#port;
    this.#ends?.startPass();
    for (let index = 0; index < count; index++) {
      const at = index * COMPLETION_WORDS;
      const slot = completions[at + COMPLETION_TAG]!;
      const request = this.inflight.find(slot, this.inflight.generation(slot));
      if (request === null) continue;
      const result = completions[at + COMPLETION_RESULT]!;
      if (result < 0) {
        this.#keepMessage(request, index);
        const again = result === -Errno.EINVAL && request.op === Opcode.read && this.#ends?.wentOver(slot) === true;
        this.settle(request, again ? -Errno.EAGAIN : result);
      } else {
        this.settle(request, this.#bytesOf(request, slot));
      }
    }
    return true;
  }

  protected prepare(request: IoRequest): boolean {
    if (request.slot < 0 && this.inflight.full) return false;
    if (request.op <= Opcode.write) this.#prepareTransfer(request);
    else this.#prepareRange(request);
    return true;
  }

  protected askToCancel(): void {
    // libblkio has no cancel: the request completes when it does.
  }

  protected takeBack(visit: (request: IoRequest) => void): void {
    this.#queued = 0;
    this.#found = 0;
    const remote = this.#link !== null;
    this.inflight.forEach((request) => {
      // Nobody can tell which of them the kernel has. Their memory is never given back, so that it cannot be reused
      // while it is written to; the memory of a server that is gone is a file of which it had its own mapping.
      if (!remote) hold(request);
      visit(request);
    });
  }

  /** libblkio keeps what it was given and would submit it later: a queue that was refused for too long is given up. */
  protected override failQueued(errno: number): void {
    if (!this.broken) return this.fail(errno);
    super.failQueued(errno);
  }

  protected goesOn(request: IoRequest): boolean {
    const { op, result } = request;
    if (op <= Opcode.write || op === Opcode.nop || op === Opcode.flush) return false;
    if (result < 0) return this.#fallBack(request);
    request.done += this.#pieces[request.slot]!;
    if (request.done < this.#rangeBytes(request)) return true;
    if (op === Opcode.writeZeroes && this.#disk.capacityBytes === Infinity && request.fellBack) {
      // Punching, unlike zeroing, does not grow a file.
      request.result = this.#disk.growTo(request.offset + request.length);
    }
    return false;
  }

  /** The second way of a range operation that the driver does not know; false when there is none. */
  #fallBack(request: IoRequest): boolean {
    if (!isUnknownOperation(-request.result) || request.fellBack) return false;
    request.fellBack = true;
    return true;
  }

  /** Bytes that an attempt has transferred, or −errno. */
  #bytesOf(request: IoRequest, slot: number): number {
    const bytes = this.#pieces[slot]!;
    if (this.#ends === null || request.op !== Opcode.read) return bytes;
    return this.#ends.bytesOf(slot, request.offset + request.done, bytes);
  }

  #prepareTransfer(request: IoRequest): void {
    const { done, op } = request;
    const start = request.offset + done;
    let bytes = Math.min(request.length - done, this.#disk.maxPieceBytes);
    const left = this.#disk.capacityBytes - start;
    if (bytes > left) {
      // Said here, in the words of our other drivers: libblkio's drivers answer such requests each in its own way.
      if (op === Opcode.write) return this.settle(request, -Errno.ENOSPC);
      if (left <= 0) return this.settle(request, 0);
      bytes = left;
    }
    const ends = op === Opcode.read ? this.#ends : null;
    const looked = ends === null ? 0 : ends.look(start + bytes);
    if (looked < 0) return this.settle(request, looked);
    const slot = this.#slotFor(request, bytes);
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

  #prepareRange(request: IoRequest): void {
    const { op, done, fellBack } = request;
    // There is no such request in libblkio: it goes the way of the others up to here.
    if (op === Opcode.nop) return this.settle(request, 0);
    if (op === Opcode.flush) return this.#port.flush(this.#slotFor(request, 0));
    const start = request.offset + done;
    const left = this.#rangeBytes(request) - done;
    if (left <= 0) return this.settle(request, -Errno.EINVAL);
    const zeroes = op === Opcode.writeZeroes || fellBack;
    const bytes = Math.min(left, zeroes ? this.#disk.maxZeroesBytes : this.#disk.maxDiscardBytes);
    const slot = this.#slotFor(request, bytes);
    if (!zeroes) this.#port.discard(start, bytes, slot);
    else this.#port.writeZeroes(start, bytes, slot, fellBack ? ZEROES_BY_DISCARD : ZEROES);
  }

  /** Bytes of a range that lie on the disk. */
  #rangeBytes(request: IoRequest): number {
    return Math.min(request.length, this.#disk.capacityBytes - request.offset);
  }

  /** Counts one entry, and keeps how much it is about. */
  #slotFor(request: IoRequest, bytes: number): number {
    const slot = request.slot < 0 ? this.inflight.insert(request) : request.slot;
    this.#pieces[slot] = bytes;
    this.#queued++;
    this.stats.ffiCalls++;
    return slot;
  }

  #announce(): void {
    const { doSubmit } = this.events;
    if (doSubmit.hasSubscribers) doSubmit.publish({ queued: this.#queued, inflight: this.inflight.size });
  }

  /** Counts a call of do_io, which has taken what was queued unless it failed. */
  #count(result: number): number {
    const { stats } = this;
    const queued = this.#queued;
    stats.ffiCalls++;
    // Also after a time-out: what was queued has been submitted by then.
    if (queued > 0 && (result >= 0 || result === -Errno.ETIME)) {
      this.#queued = 0;
      stats.submits++;
      stats.submittedEntries += queued;
      stats.depthSum += this.inflight.size;
    }
    const { doSubmitDone } = this.events;
    if (doSubmitDone.hasSubscribers) doSubmitDone.publish({ result: result < 0 ? result : queued });
    return result;
  }

  #failed(result: number): void {
    if (isRefusal(result)) this.refused(-result);
    else this.fail(-result);
  }

  #keepMessage(request: IoRequest, index: number): void {
    const message = this.#port.messageAt(index);
    if (message !== null) this.#messages.set(request, message);
  }
}

/** True for the answers that pass: what was queued stays queued. */
function isRefusal(result: number): boolean {
  return result === -Errno.EBUSY || result === -Errno.EAGAIN || result === -Errno.EINTR;
}

function hold(request: IoRequest): void {
  if (request.region !== null) request.region.holds++;
  else if (request.iovecs !== null) request.iovecs.hold(1);
}
