import { type IdleList, QUEUES_SHORT } from "./idle_queues.ts";
import { tearDownInTurn } from "../base/teardown.ts";

/** How the things of a table live on between their users. */
interface SharedLife<T> {
  /** Tears one down; with `unheard` no caller waits for it or is told. */
  close(shared: T, unheard: boolean): void | Promise<void>;
  /** Called when the last user has gone and it is kept. */
  rest(shared: T): void;
  /** Called when it is used again. */
  resume(shared: T): void;
}

interface Entry<T> {
  readonly name: string;
  readonly shared: T;
  users: number;
}

/**
 * Things of one Worker that several devices share, by name: made for the first user, and kept for a while when the last
 * one has gone.
 */
export class SharedTable<T extends object> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #byThing = new Map<T, Entry<T>>();
  readonly #idle: IdleList;
  readonly #life: SharedLife<T>;

  /** Makes an empty table of things that live by `life`; those without users are in `idle`. */
  constructor(idle: IdleList, life: SharedLife<T>) {
    this.#idle = idle;
    this.#life = life;
  }

  /** The thing called `name`, from `open` if there is none. Pair with `release`. */
  acquire(name: string, open: () => T): T {
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      entry = { name, shared: this.#idle.retry(QUEUES_SHORT, open), users: 0 };
      this.#entries.set(name, entry);
      this.#byThing.set(entry.shared, entry);
    } else if (entry.users === 0) {
      this.#idle.delete(entry);
      this.#life.resume(entry.shared);
    }
    entry.users++;
    return entry.shared;
  }

  /**
   * Counts one user less. After the last one the thing is kept, or torn down where that `ends` it. One that is `leaked`
   * is never handed out or torn down again.
   */
  release(shared: T, fate: "kept" | "ends" | "leaked"): void | Promise<void> {
    const entry = this.#byThing.get(shared);
    if (entry === undefined) return;
    entry.users--;
    if (fate === "leaked") return this.#forget(entry);
    if (entry.users > 0) return;
    if (fate === "ends") return this.#end(entry, false);
    try {
      this.#life.rest(shared);
    } catch (error) {
      // What it does not let go of goes with it.
      return tearDownInTurn(() => this.#end(entry, false), () => Promise.reject(error));
    }
    this.#idle.add(entry, (unheard) => this.#end(entry, unheard));
  }

  #end(entry: Entry<T>, unheard: boolean): void | Promise<void> {
    this.#forget(entry);
    return this.#life.close(entry.shared, unheard);
  }

  #forget({ name, shared }: Entry<T>): void {
    this.#entries.delete(name);
    this.#byThing.delete(shared);
  }
}
