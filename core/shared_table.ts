interface Entry<T> {
  readonly shared: T;
  users: number;
}

/** Things of one Worker that several devices share, by name: made for the first user, given back by the last. */
export class SharedTable<T extends object> {
  readonly #entries = new Map<string, Entry<T>>();

  /** The thing called `name`, from `open` if there is none. Pair with `release`. */
  acquire(name: string, open: () => T): T {
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      entry = { shared: open(), users: 0 };
      this.#entries.set(name, entry);
    }
    entry.users++;
    return entry.shared;
  }

  /**
   * Counts one user less; true when that was the last one, who now tears the thing down. One that is `leaked` is never
   * handed out or torn down again.
   */
  release(shared: T, leaked = false): boolean {
    for (const [name, entry] of this.#entries) {
      if (entry.shared !== shared) continue;
      const last = --entry.users === 0;
      if (last || leaked) this.#entries.delete(name);
      return last && !leaked;
    }
    return false;
  }
}
