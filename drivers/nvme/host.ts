import type { Interrupt } from "./environment.ts";
import type { QueuePair } from "./queue_pair.ts";

/** What a queue asks of its controller. */
export interface QueueHost {
  /** Asks the device to give a command up; the driver does not wait for the answer. */
  abort(qid: number, cid: number): void;
  /** Sees to it that the next interrupt wakes the event loop; false when it cannot. */
  armInterrupt(): boolean;
  /** Waits for an interrupt of this queue, for a bounded time, and looks after what is due meanwhile. */
  waitForInterrupt(): void;
  /** Looks after what is due: time-outs, a reset in progress. To be called while a caller waits by looking. */
  lookAfter(): void;
}

/** What a controller resets and brings up again with itself: a pair of I/O queues and its requests. */
export interface ControllerQueue {
  readonly pair: QueuePair;
  readonly interrupt: Interrupt;
  /** Nothing is announced from now on. */
  suspend(): void;
  /** No command completes any more. */
  endInflight(errno: number): void;
  /** The queues exist again, empty. */
  resume(): void;
  /** The controller is given up. */
  fail(errno: number): void;
}
