import { tearDown } from "../../core/base/teardown.ts";
import { type Timer, timerIfAllowed } from "../../ffi/timer.ts";
import { WaitSet } from "../../ffi/wait_set.ts";
import { type Sleeper, TURN_MS } from "../guest_ring/mod.ts";

/** Sleeps for kicks, completions and the end of the turn. */
export class VringSleeper implements Sleeper, Disposable {
  readonly #set: WaitSet;
  /** Null where timers are forbidden: each sleep then has a time-out, which costs more (core/queue/keep_tick.ts). */
  readonly #turn: Timer | null;
  /** False also where the timer could not be started: nothing would end the sleep. */
  #turnRuns = false;

  /** Makes one that sleeps to the end of the turn. Throws StorageError; nothing stays open then. */
  constructor() {
    using stack = new DisposableStack();
    this.#set = stack.use(new WaitSet());
    this.#turn = stack.use(timerIfAllowed(TURN_MS));
    if (this.#turn !== null) this.#set.add(this.#turn.fd);
    stack.move();
  }

  /** Wakes up by this descriptor as well. */
  add(fd: number): void {
    this.#set.add(fd);
  }

  /** Wakes up by it no longer. Others have copies of the descriptor, so closing it would leave it in the set. */
  remove(fd: number): void {
    this.#set.remove(fd);
  }

  startTurn(): void {
    this.#turnRuns = this.#turn?.start() === true;
  }

  sleep(): void {
    this.#set.sleep(this.#turnRuns ? -1 : TURN_MS);
  }

  [Symbol.dispose](): void {
    tearDown(() => this.#set[Symbol.dispose](), () => this.#turn?.[Symbol.dispose]());
  }
}
