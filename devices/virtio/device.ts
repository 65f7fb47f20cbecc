import type { SplitQueue } from "./split_queue.ts";

/** Tells the driver that there are answers: writes the queue's call descriptor. */
export type NotifyDriver = () => void;

/** One queue at work: a device model and the virtqueue that it serves. */
export interface DeviceQueue {
  /** Requests taken and not answered. */
  readonly inFlight: number;
  /** Of those, the ones that go on in microtasks: nobody may block while there are some. */
  readonly copying: number;
  /** The virtqueue. */
  readonly queue: SplitQueue;
  /** Takes and starts what is available, as one plugged section; returns how many requests. */
  pass(): number;
  /** Resolves when nothing is in flight; no pass may run meanwhile. */
  drain(): Promise<void>;
  /** Gives back what the queue needed; nothing may be in flight. */
  close(): void;
}

/** The part of a device model that runs queues: one per Worker. */
export interface DeviceModel {
  /** Starts to serve a queue. `notify` tells the driver; it is called when the queue's answers call for it. */
  openQueue(queue: SplitQueue, features: bigint, notify: NotifyDriver): DeviceQueue;
  /** Submits and delivers without blocking: while the event loop is not waited in. Returns how many requests completed. */
  poll(): number;
  /** A descriptor that is signalled when `poll` has something to deliver; −1 where there is none. */
  readonly completionFd: number;
  /** The driver changed the configuration space. */
  configured(config: Uint8Array): void;
}

/** The part of a device model that the transport asks: one per device. */
export interface DeviceFace {
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
