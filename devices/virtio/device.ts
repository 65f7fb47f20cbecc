import type { CompletionSource, DeviceQueue } from "../guest_ring/device_queue.ts";
import type { SplitQueue } from "./split_queue.ts";

/** Tells the driver that there are answers: writes the queue's call descriptor. */
export type NotifyDriver = () => void;

/**
 * Has the parts of a device model in all Workers, the caller's as well, carry out an order: plain data. Resolves to their
 * answers once all of them have. Rejects where one fails or has ended, after the others.
 */
export type ManageAll = (order: unknown) => Promise<readonly unknown[]>;

/** A device model at work on one virtqueue. */
export type VirtqueueDevice = DeviceQueue<SplitQueue>;

/** The part of a device model that runs queues: one per Worker. */
export interface DeviceModel extends CompletionSource {
  /** Starts to serve queue `index`. `notify` tells the driver; it is called when the queue's answers call for it. */
  openQueue(index: number, queue: SplitQueue, features: bigint, notify: NotifyDriver): VirtqueueDevice;
  /** The driver changed the configuration space. */
  configured(config: Uint8Array): void | Promise<void>;
  /** Does what the device asks of its part in each Worker, plain data both ways; answers, or resolves, once it is done. */
  manage(order: unknown): unknown;
  /** Called once, before any queue: how this part reaches those of all Workers. Absent where it has no need to. */
  connect?(manageAll: ManageAll): void;
}

/** The part of a device model that the transport asks: one per device. */
export interface VirtioConfig {
  /** Features, without those of the transport. */
  readonly features: bigint;
  /** Features that a front end sets though they were not offered, and that change nothing but what a request looks like. */
  readonly tolerated: bigint;
  /** Queues that the driver may use. */
  readonly queueCount: number;
  /** Largest ring. */
  readonly maxQueueSize: number;
  /** The configuration space now; null for a device that has none, ever. */
  readonly config: Uint8Array | null;
  /** The driver writes to the configuration space; returns why it may not, or null. */
  writeConfig(offset: number, bytes: Uint8Array): string | null;
  /**
   * The driver has reset the device, and its queues have stopped: what it had set is forgotten. Returns the order for the
   * models of all Workers, or undefined where they have nothing to forget.
   */
  reset(): unknown;
}
