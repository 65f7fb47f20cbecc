import { Timer } from "../../ffi/timer.ts";
import { WaitSet } from "../../ffi/wait_set.ts";
import { type Sleeper, TURN_MS } from "../virtio/mod.ts";

/** Sleeps for kicks, completions and the end of the turn. */
export class HostSleeper implements Sleeper, Disposable {
  readonly #set = new WaitSet();
  readonly #turn = new Timer(TURN_MS);

  /** Makes one that sleeps to the end of the turn. */
  constructor() {
    this.#set.add(this.#turn.fd);
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
    this.#turn.start();
  }

  sleep(): void {
    this.#set.sleep();
  }

  [Symbol.dispose](): void {
    this.#set[Symbol.dispose]();
    this.#turn[Symbol.dispose]();
  }
}
