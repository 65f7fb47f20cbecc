/** The ring that a guest fills, as far as a loop over rings has to know it: of any layout. */
export interface GuestRing {
  /** The rule that the driver broke; null while it behaves. A broken ring takes nothing any more. */
  broken: string | null;
  /** True while the driver is asked to kick. */
  readonly notificationsOn: boolean;
  /** Asks the driver to kick from now on. */
  enableNotifications(): void;
  /** Tells the driver that kicks are not needed. */
  disableNotifications(): void;
}

/** One queue at work: a device model and the ring that it serves. */
export interface DeviceQueue<Ring extends GuestRing = GuestRing> {
  /** Requests taken and not answered. */
  readonly inFlight: number;
  /** The ring. */
  readonly queue: Ring;
  /** True when a pass would do something. What stays in the ring until the device needs it is no work. */
  hasWork(): boolean;
  /** Takes and starts what is available, as one plugged section; returns how many requests. */
  pass(): number;
  /** Resolves when nothing is in flight; no pass may run meanwhile. */
  drain(): Promise<void>;
  /** Gives back what the queue needed; nothing may be in flight. */
  close(): void;
}

/** The disks behind the queues of one Worker, as far as a loop has to know them. */
export interface CompletionSource {
  /** Submits and delivers without blocking: while the event loop is not waited in. Returns how many requests completed. */
  poll(): number;
  /** Descriptors that are signalled when `poll` has something to deliver: of each disk that has one, none twice. */
  readonly completionFds: readonly number[];
  /** False while a sleep would miss something: a disk with requests in flight has none, or requests go on in microtasks. */
  readonly maySleep: boolean;
}
