import type { GuestMemory } from "../guest_memory/mod.ts";
import {
  type ChainRequest,
  ChainTaker,
  type NotifyDriver,
  type SplitQueue,
  type VirtqueueDevice,
} from "../virtio/mod.ts";
import { writePlace } from "./address.ts";
import { VIRTIO_SCSI_CONSTANTS as C, VIRTIO_SCSI_EVENT as EVENT } from "./layout.ts";
import type { ScsiEvent } from "./orders.ts";

const MISSED = C.VIRTIO_SCSI_T_EVENTS_MISSED.value;

/** A buffer of the driver's. */
class EventBuffer implements ChainRequest {
  head = 0;
  active = false;
  memory: GuestMemory | null = null;
}

/**
 * The event queue: the driver posts buffers, and each event takes one. A buffer stays in the ring until there is an event
 * for it, so that a queue that stops has none in flight. An event without a buffer is lost, and the next one says so.
 */
export class ScsiEventQueue implements VirtqueueDevice {
  readonly queue: SplitQueue;
  readonly inFlight = 0;
  readonly #taker: ChainTaker<EventBuffer>;
  readonly #notify: NotifyDriver;
  readonly #onClose: () => void;
  readonly #bytes = new Uint8Array(EVENT.byteLength);
  readonly #view = new DataView(this.#bytes.buffer);
  #hasMissed = false;

  /** Serves `queue`; `onClose` is called when it is served no more. */
  constructor(queue: SplitQueue, notify: NotifyDriver, onClose: () => void) {
    this.queue = queue;
    this.#notify = notify;
    this.#onClose = onClose;
    this.#taker = new ChainTaker(queue, () => new EventBuffer());
  }

  /** Buffers that wait for an event are no work. */
  hasWork(): boolean {
    return this.#hasMissed && this.queue.hasWork();
  }

  pass(): number {
    if (!this.hasWork()) return 0;
    return this.#send(C.VIRTIO_SCSI_T_NO_EVENT.value, null, 0) ? 1 : 0;
  }

  /** Tells the driver. */
  raise({ event, place, reason }: ScsiEvent): void {
    if (!this.#send(event, place, reason)) this.#hasMissed = true;
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#onClose();
  }

  #send(event: number, place: number | null, reason: number): boolean {
    const { queue } = this;
    const buffer = this.#taker.take();
    // A driver that has none left kicks when it brings the next.
    queue.enableNotifications();
    if (buffer === null) return false;
    const bytes = this.#bytes.fill(0);
    this.#view.setUint32(EVENT.fields.event.offset, this.#hasMissed ? (event | MISSED) >>> 0 : event, true);
    if (place !== null) writePlace(bytes, EVENT.fields.lun.offset, place);
    this.#view.setUint32(EVENT.fields.reason.offset, reason, true);
    this.#hasMissed = false;
    const { writable } = this.#taker.chain;
    const written = writable.write(bytes);
    queue.dirtyLog?.markSegments(writable, written);
    this.#taker.answer(buffer, written);
    if (queue.shouldNotify()) this.#notify();
    return true;
  }
}
