/**
 * A first-in first-out queue on a ring that doubles when it is full: no allocation on the steady path, and constant
 * time at both ends, which `Array.shift` does not promise.
 */
export class Fifo<T> {
  #items: (T | null)[];
  #head = 0;
  #size = 0;

  /** Makes an empty queue; `initialCapacity` must be a power of two. */
  constructor(initialCapacity = 64) {
    this.#items = new Array<T | null>(initialCapacity).fill(null);
  }

  /** Number of items. */
  get size(): number {
    return this.#size;
  }

  /** Adds `item` at the end. */
  push(item: T): void {
    if (this.#size === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#size) & (this.#items.length - 1)] = item;
    this.#size++;
  }

  /** Adds `item` at the front: for what was taken and has to wait again in its old place. */
  unshift(item: T): void {
    if (this.#size === this.#items.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#items.length - 1);
    this.#items[this.#head] = item;
    this.#size++;
  }

  /** The first item, which stays, or null. */
  peek(): T | null {
    return this.#size === 0 ? null : this.#items[this.#head]!;
  }

  /** Takes the first item, or null when there is none. */
  shift(): T | null {
    if (this.#size === 0) return null;
    const item = this.#items[this.#head]!;
    this.#items[this.#head] = null;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#size--;
    return item;
  }

  /** Removes `item` wherever it stands; true when it was there. Linear: for cancellation, not for hot paths. */
  remove(item: T): boolean {
    const kept: T[] = [];
    let found = false;
    for (let next = this.shift(); next !== null; next = this.shift()) {
      if (next === item) found = true;
      else kept.push(next);
    }
    for (const next of kept) this.push(next);
    return found;
  }

  #grow(): void {
    const mask = this.#items.length - 1;
    const grown = new Array<T | null>(this.#items.length * 2).fill(null);
    for (let index = 0; index < this.#size; index++) grown[index] = this.#items[(this.#head + index) & mask]!;
    this.#items = grown;
    this.#head = 0;
  }
}
