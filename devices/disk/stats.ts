/** What the queues of one Worker have done for a guest. Numbers that only grow: read two snapshots and subtract. */
export interface DiskStats {
  /** Passes over a queue. */
  passes: number;
  /** Requests taken. */
  requests: number;
  /** Requests answered. */
  answers: number;
  /** Answers that were errors. */
  errors: number;
  /** Requests to the driver for reads and writes; fewer than requests of the guest where neighbours were joined. */
  runs: number;
  /** Requests whose data was copied, because the driver could not go to guest memory straight. */
  copied: number;
  /** Times the driver in the guest was told: writes to a call descriptor. */
  notifications: number;
}

/** Zeroed counters. */
export function newDiskStats(): DiskStats {
  return { passes: 0, requests: 0, answers: 0, errors: 0, runs: 0, copied: 0, notifications: 0 };
}
