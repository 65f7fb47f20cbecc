/** A file or device of a queue: where its completions are counted, and what one attempt at a request of it may be. */
export interface QueueOwner {
  /** Requests of this owner whose completion is owed. */
  active: number;
  /** Called when `active` is back to 0, while a caller waits for that. */
  onIdle: (() => void) | null;
  /** Bytes that offsets are multiples of. Absent: 1. */
  readonly granularity?: number;
  /** Bounds that the queue keeps; null where the kernel keeps them and says so. */
  readonly attemptLimits: AttemptLimits | null;
}

/** Bounds of one attempt at a request: what is longer goes in several, one after the other. */
export interface AttemptLimits {
  /** Size of the disk in bytes; Infinity for a file, of which the engine knows the end. */
  readonly sizeBytes: number;
  /** Most bytes of one attempt, by opcode; 0 for what the device cannot do. */
  readonly maxBytes: readonly number[];
}
