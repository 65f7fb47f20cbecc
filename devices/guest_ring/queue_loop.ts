import type { CompletionSource, DeviceQueue } from "./device_queue.ts";
import { Patience } from "./patience.ts";
import { SpinJudge } from "./spin.ts";

/** Milliseconds after which the event loop has its turn. */
export const TURN_MS = 1;

/** Looks at the rings between two looks at the disk, which may cost a system call. */
const LOOKS_PER_DISK_LOOK = 16;

/** A way to sleep until a queue is kicked or the disk has completed something: see ffi/wait_set.ts. */
export interface Sleeper {
  /** Bounds the sleeps from now on: those after TURN_MS end at once. */
  startTurn(): void;
  /** Sleeps until something comes, or the turn is over. */
  sleep(): void;
}

/** What a loop needs of its surroundings. */
export interface QueueLoopOptions {
  /** The device whose completions are waited for as well. */
  readonly model: CompletionSource;
  /** Look for a short, adaptive time before sleeping, with the driver's kicks turned off. */
  readonly spin: boolean;
  /** How to sleep now; null while that has to be left to the event loop. */
  readonly sleeper: () => Sleeper | null;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Runs a function as a macrotask of its own, soon. */
  readonly soon: (run: () => void) => void;
  /** Called for a queue whose driver broke a rule. */
  readonly onBroken: (queue: DeviceQueue) => void;
}

/**
 * Decides when the queues of one Worker are looked at: at a kick, and from then on for as long as something comes. It
 * sleeps for kicks and completions together, in one system call, and leaves the event loop a turn every millisecond.
 * Waiting in the event loop for each of them costs a multiple of that call.
 *
 * Where nothing comes while it sleeps, it is patient for a while only, and kicks and completions come through the event
 * loop: a driver on the same thread cannot do anything meanwhile.
 */
export class QueueLoop {
  readonly #options: QueueLoopOptions;
  readonly #queues = new Set<DeviceQueue>();
  readonly #judge = new SpinJudge();
  readonly #diskPatience = new Patience();
  readonly #driverPatience = new Patience();
  readonly #resume = () => {
    this.#scheduled = false;
    this.#look();
    this.#run();
  };
  readonly #afterAnswers = () => {
    this.#answersSeen = false;
    this.#run();
  };
  #scheduled = false;
  #answersSeen = false;
  #running = false;

  /** Makes a loop without queues. */
  constructor(options: QueueLoopOptions) {
    this.#options = options;
  }

  /** Serves `queue` from now on, and looks at it once: what is there already comes with no kick. */
  add(queue: DeviceQueue): void {
    this.#queues.add(queue);
    queue.queue.enableNotifications();
    this.kicked(queue);
  }

  /** Leaves `queue` alone from now on. */
  remove(queue: DeviceQueue): void {
    this.#queues.delete(queue);
  }

  /** The driver says that there are requests; a macrotask. */
  kicked(queue: DeviceQueue): void {
    if (!this.#queues.has(queue)) return;
    if (this.#options.spin) this.#judge.kicked(this.#options.nowMs(), this.#inFlight());
    this.#pass(queue);
    this.#run();
  }

  /** The driver was told of answers: its next request may be near. */
  answered(): void {
    const { spin, sleeper } = this.#options;
    if (this.#running || this.#answersSeen || (!spin && sleeper() === null)) return;
    if (spin) this.#judge.answered(this.#options.nowMs());
    this.#answersSeen = true;
    // Behind the queue that delivers completions right now.
    queueMicrotask(this.#afterAnswers);
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    try {
      if (this.#serve(this.#options.nowMs() + TURN_MS)) this.#later();
    } finally {
      this.#running = false;
    }
  }

  /** Serves until nothing is to be expected, or until `endMs`; true when there is more to do after the event loop. */
  #serve(endMs: number): boolean {
    const { nowMs, sleeper, spin } = this.#options;
    const sleeps = sleeper();
    if (!spin && sleeps === null) return this.#hasWork();
    let sleptFor: Patience | null = null;
    let asleep = false;
    let busy = false;
    for (;;) {
      if (spin && !this.#spin(endMs)) return true;
      const moved = this.#advance();
      if (moved > 0) {
        busy = true;
        if (sleptFor !== null) sleptFor.note(true);
        sleptFor = null;
      }
      if (nowMs() > endMs) {
        const more = moved > 0 || (busy && this.#inFlight() > 0);
        if (!more && sleptFor !== null) sleptFor.note(false);
        return more;
      }
      if (moved > 0) continue;
      const patience = sleeps === null ? null : this.#worthSleeping();
      if (patience === null || (patience !== sleptFor && !patience.allows())) return false;
      if (!asleep) sleeps!.startTurn();
      asleep = true;
      sleptFor = patience;
      try {
        sleeps!.sleep();
      } catch {
        // The event loop waits for the same, and wakes up later.
        return false;
      }
    }
  }

  /** What a sleep would be for, or null where it would miss something. */
  #worthSleeping(): Patience | null {
    // What goes on in microtasks does not run while this sleeps.
    if (!this.#options.model.maySleep) return null;
    return this.#inFlight() === 0 ? this.#driverPatience : this.#diskPatience;
  }

  /** Looks for as long as that is worth it, with kicks turned off; false when the turn is over before that. */
  #spin(endMs: number): boolean {
    const { nowMs, model } = this.#options;
    let now = nowMs();
    while (this.#judge.worth(now, this.#inFlight())) {
      if (now > endMs) return false;
      for (const { queue } of this.#queues) if (queue.notificationsOn) queue.disableNotifications();
      const taken = this.#lookOften();
      const answered = this.#inFlight() > 0 ? model.poll() : 0;
      now = nowMs();
      this.#judge.found(now, taken > 0, answered > 0);
    }
    // What comes before the driver sees the wish is found by the look that follows.
    for (const { queue } of this.#queues) if (!queue.notificationsOn) queue.enableNotifications();
    return true;
  }

  /** Takes what the driver has, and delivers what the disk has; returns how much that was. */
  #advance(): number {
    const taken = this.#look();
    return taken + (this.#inFlight() > 0 ? this.#options.model.poll() : 0);
  }

  /** Looks at the rings a number of times, or until one has something. */
  #lookOften(): number {
    for (let look = 0; look < LOOKS_PER_DISK_LOOK; look++) {
      const count = this.#look();
      if (count > 0) return count;
    }
    return 0;
  }

  /** Passes over the queues that have something. */
  #look(): number {
    let count = 0;
    for (const queue of this.#queues) {
      if (queue.hasWork()) count += this.#pass(queue);
      else if (queue.queue.broken !== null) this.#giveUp(queue);
    }
    return count;
  }

  #pass(queue: DeviceQueue): number {
    let count = 0;
    try {
      count = queue.pass();
    } catch (error) {
      // The other queues, and the process, go on.
      queue.queue.broken ??= `it cannot be served: ${(error as Error).message}`;
    }
    if (queue.queue.broken !== null) this.#giveUp(queue);
    return count;
  }

  /** Nothing comes from a broken queue; what it has in flight completes without being waited for. */
  #giveUp(queue: DeviceQueue): void {
    this.#queues.delete(queue);
    this.#options.onBroken(queue);
  }

  #hasWork(): boolean {
    for (const queue of this.#queues) if (queue.hasWork()) return true;
    return false;
  }

  #later(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.soon(this.#resume);
  }

  #inFlight(): number {
    let count = 0;
    for (const queue of this.#queues) count += queue.inFlight;
    return count;
  }
}
