import type { CompletionSource, DeviceQueue } from "../guest_ring/device_queue.ts";
import type { SplitQueue } from "./split_queue.ts";

/** Tells the driver that there are answers: writes the queue's call descriptor. */
export type NotifyDriver = () => void;

/** A device model at work on one virtqueue. */
export type VirtqueueDevice = DeviceQueue<SplitQueue>;

/** The part of a device model that runs queues: one per Worker. */
export interface DeviceModel extends CompletionSource {
  /** Starts to serve queue `index`. `notify` tells the driver; it is called when the queue's answers call for it. */
  openQueue(index: number, queue: SplitQueue, features: bigint, notify: NotifyDriver): VirtqueueDevice;
  /** The driver changed the configuration space. */
  configured(config: Uint8Array): void;
}

/** The part of a device model that the transport asks: one per device. */
export interface VirtioConfig {
  /** Features, without those of the transport. */
  readonly features: bigint;
  /** Queues that the driver may use. */
  readonly queueCount: number;
  /** Largest ring. */
  readonly maxQueueSize: number;
  /** The configuration space now. */
  readonly config: Uint8Array;
  /** The driver writes to the configuration space; returns why it may not, or null. */
  writeConfig(offset: number, bytes: Uint8Array): string | null;
}
