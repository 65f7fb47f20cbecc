import type { DirtyLog, GuestMemory } from "../guest_memory/mod.ts";
import type { InflightLog } from "./inflight.ts";
import { VIRTIO_CONSTANTS as V, VRING_USED, VRING_USED_ELEM } from "./layout.ts";
import type { RingViews } from "./ring.ts";

const NO_NOTIFY = V.VRING_USED_F_NO_NOTIFY.value;
const NO_INTERRUPT = V.VRING_AVAIL_F_NO_INTERRUPT.value;
const INDEX_MASK = 0xffff;
/** Index of `idx` in both rings, in halves; `flags` is at 0. */
const INDEX = 1;
/** First entry of the available ring, in halves. */
const AVAIL_RING = 2;

/** `pop` found nothing. */
export const NO_HEAD = -1;

/** What a queue is made of. */
export interface SplitQueueOptions {
  /** Where the rings are. */
  readonly views: RingViews;
  /** Memory that descriptors point into; the queue becomes a user of the table. */
  readonly memory: GuestMemory;
  /** Next entry of the available ring to be read. */
  readonly nextAvail: number;
  /** VIRTIO_RING_F_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
  /** VIRTIO_RING_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** Guest memory that is written to is marked here; null while the front end wants no log. */
  readonly dirtyLog?: DirtyLog | null;
  /** Guest address of the used ring, for the dirty log; −1 where it is not logged. */
  readonly usedLogAddress?: number;
  /** Survives this process; null without. */
  readonly inflight?: InflightLog | null;
}

/**
 * The device's side of one split virtqueue (virtio 1.2, 2.7): takes heads from the available ring, answers in the used
 * ring, and decides who has to be told. Knows neither requests nor descriptors of events.
 */
export class SplitQueue {
  /** Entries. */
  readonly size: number;
  /** Indirect descriptors are allowed. */
  readonly indirect: boolean;
  #views: RingViews;
  #memory: GuestMemory;
  /** Marks what is written; null while the front end wants no log. */
  readonly dirtyLog: DirtyLog | null;
  /** The rule that the driver broke; null while it behaves. A broken queue takes nothing any more. */
  broken: string | null = null;
  /** True while the driver is asked to kick. */
  notificationsOn = true;
  readonly #mask: number;
  readonly #eventIndex: boolean;
  readonly #usedLogAddress: number;
  readonly #inflight: InflightLog | null;
  readonly #replay: number[];
  #replayed = 0;
  #nextAvail: number;
  #knownAvail: number;
  #used: number;
  #signalled = -1;

  /** Makes the queue; the in-flight log, if there is one, says what is done again first. */
  constructor(options: SplitQueueOptions) {
    this.#views = options.views;
    this.#memory = options.memory;
    this.size = options.views.size;
    this.indirect = options.indirect;
    this.dirtyLog = options.dirtyLog ?? null;
    this.#mask = this.size - 1;
    this.#eventIndex = options.eventIndex;
    this.#usedLogAddress = options.usedLogAddress ?? -1;
    this.#inflight = options.inflight ?? null;
    this.#used = Atomics.load(this.#views.used, INDEX);
    this.#replay = this.#inflight?.recover(this.#used) ?? [];
    for (const head of this.#replay) {
      if (head >= this.size) throw new RangeError(`Cannot do descriptor ${head} again in a ring of ${this.size}`);
    }
    // What is done again was taken already, whatever the monitor believes.
    const taken = (this.#used + this.#replay.length) & INDEX_MASK;
    this.#nextAvail = this.#inflight === null ? options.nextAvail & INDEX_MASK : taken;
    this.#knownAvail = this.#nextAvail;
  }

  /** The rings. */
  get views(): RingViews {
    return this.#views;
  }

  /** Where descriptors point to. */
  get memory(): GuestMemory {
    return this.#memory;
  }

  /** The guest's memory has changed: the rings are at `views` from now on, of the same size and with the same content. */
  move(views: RingViews, memory: GuestMemory): void {
    this.#views = views;
    this.#memory = memory;
  }

  /** Next entry of the available ring that would be read. */
  get nextAvail(): number {
    return this.#nextAvail;
  }

  /** Entries of the available ring that the last look has found and that are not taken yet. */
  get known(): number {
    return (this.#knownAvail - this.#nextAvail) & INDEX_MASK;
  }

  /** Requests left by the process before this one that have not been taken again. */
  get replaysLeft(): number {
    return this.#replay.length - this.#replayed;
  }

  /** Takes the next head, or NO_HEAD. An index that cannot be breaks the queue. */
  pop(): number {
    if (this.broken !== null) return NO_HEAD;
    if (this.#replayed < this.#replay.length) return this.#replay[this.#replayed++]!;
    if (this.#nextAvail === this.#knownAvail && !this.#look()) return NO_HEAD;
    const head = this.#views.avail[AVAIL_RING + (this.#nextAvail & this.#mask)]!;
    if (head >= this.size) {
      this.broken = `it offers descriptor ${head} in a ring of ${this.size}`;
      return NO_HEAD;
    }
    this.#nextAvail = (this.#nextAvail + 1) & INDEX_MASK;
    this.#inflight?.taken(head);
    return head;
  }

  /** True when there is something to take. */
  hasWork(): boolean {
    if (this.broken !== null) return false;
    return this.#replayed < this.#replay.length || this.#nextAvail !== this.#knownAvail || this.#look();
  }

  /** Answers `head`, with `byteLength` bytes written to its buffers. */
  push(head: number, byteLength: number): void {
    const views = this.#views;
    const slot = this.#used & this.#mask;
    views.usedEntries[slot * 2] = head;
    views.usedEntries[slot * 2 + 1] = byteLength;
    this.#inflight?.answering(head);
    this.#used = (this.#used + 1) & INDEX_MASK;
    // Pairs with the driver's read barrier after it has seen the index: data and entry are written before.
    Atomics.store(views.used, INDEX, this.#used);
    this.#inflight?.answered(head, this.#used);
    if (this.dirtyLog !== null && this.#usedLogAddress >= 0) this.#logUsed(slot);
  }

  /** Whether the driver wants to be told of the answers since it was asked last. To be acted on, now or at the end. */
  shouldNotify(): boolean {
    const { avail } = this.#views;
    // The index was stored with a full barrier: the driver either sees it or has its wish seen here.
    if (!this.#eventIndex) return (Atomics.load(avail, 0) & NO_INTERRUPT) === 0;
    const before = this.#signalled;
    this.#signalled = this.#used;
    if (before < 0) return true;
    const event = Atomics.load(avail, AVAIL_RING + this.size);
    return ((this.#used - event - 1) & INDEX_MASK) < ((this.#used - before) & INDEX_MASK);
  }

  /** Asks the driver not to kick. With event indices that is saying nothing: the wish of last time has come true. */
  disableNotifications(): void {
    this.notificationsOn = false;
    if (!this.#eventIndex) Atomics.store(this.#views.used, 0, NO_NOTIFY);
  }

  /** Asks the driver to kick for the next request. What it added before it could see this has to be looked for. */
  enableNotifications(): void {
    this.notificationsOn = true;
    const { used } = this.#views;
    if (this.#eventIndex) Atomics.store(used, used.length - 1, this.#nextAvail);
    else Atomics.store(used, 0, 0);
    if (this.dirtyLog !== null && this.#usedLogAddress >= 0) {
      this.dirtyLog.mark(this.#usedLogAddress, used.byteLength);
    }
  }

  #look(): boolean {
    const { avail } = this.#views;
    // Pairs with the driver's write barrier before it moves the index: entries and descriptors are there.
    const index = Atomics.load(avail, INDEX);
    const ahead = (index - this.#nextAvail) & INDEX_MASK;
    if (ahead > this.size) {
      this.broken = `its index jumped ${ahead} entries ahead in a ring of ${this.size}`;
      return false;
    }
    this.#knownAvail = index;
    return ahead > 0;
  }

  #logUsed(slot: number): void {
    const entry = VRING_USED.byteLength + slot * VRING_USED_ELEM.byteLength;
    this.dirtyLog!.mark(this.#usedLogAddress, VRING_USED.byteLength);
    this.dirtyLog!.mark(this.#usedLogAddress + entry, VRING_USED_ELEM.byteLength);
  }
}
