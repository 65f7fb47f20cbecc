/**
 * A first-in first-out queue on a ring that doubles when it is full: no allocation on the steady path, and constant
 * time at both ends, which `Array.shift` does not promise.
 *
 * Removing from the middle leaves a gap. Where an item stands is written down from the first removal until the queue is
 * empty again, so that removing all of many takes a step each. Items that are removed are in the queue once.
 */
export class Fifo<T> {
  #items: (T | null)[];
  /** Place of the first item: its index in the ring, before the mask. */
  #head = 0;
  /** Places in use, gaps among them; the first and the last are none. */
  #span = 0;
  /** Items. */
  #size = 0;
  #places: Map<T, number> | null = null;

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
    if (this.#span === this.#items.length) this.#makeRoom();
    this.#put(this.#head + this.#span, item);
  }

  /** Adds `item` at the front: for what was taken and has to wait again in its old place. */
  unshift(item: T): void {
    if (this.#span === this.#items.length) this.#makeRoom();
    this.#head = (this.#head - 1) | 0;
    this.#put(this.#head, item);
  }

  /** The first item, which stays, or null. */
  peek(): T | null {
    return this.#size === 0 ? null : this.#items[this.#head]!;
  }

  /** Takes the first item, or null when there is none. */
  shift(): T | null {
    if (this.#size === 0) return null;
    const index = this.#head & (this.#items.length - 1);
    const item = this.#items[index]!;
    this.#take(index);
    return item;
  }

  /** Removes `item` wherever it stands; true when it was there. */
  remove(item: T): boolean {
    if (this.#size === 0) return false;
    const places = this.#places ??= this.#written();
    const place = places.get(item);
    if (place === undefined) return false;
    const index = place & (this.#items.length - 1);
    // What has left by the front is still written down.
    if (this.#items[index] !== item) return false;
    this.#take(index);
    return true;
  }

  #put(place: number, item: T): void {
    this.#items[place & (this.#items.length - 1)] = item;
    this.#span++;
    this.#size++;
    const places = this.#places;
    if (places === null || places.get(item) === (place | 0)) return;
    // Most of it is of items that have left: it is written anew when it is needed.
    if (places.size > 2 * this.#size + this.#items.length) this.#places = null;
    else places.set(item, place | 0);
  }

  /** Leaves a gap, but at neither end. */
  #take(index: number): void {
    const mask = this.#items.length - 1;
    this.#items[index] = null;
    this.#size--;
    if (this.#size === 0) {
      this.#span = 0;
      this.#places = null;
      return;
    }
    while (this.#items[this.#head & mask] === null) {
      this.#head = (this.#head + 1) | 0;
      this.#span--;
    }
    while (this.#items[(this.#head + this.#span - 1) & mask] === null) this.#span--;
  }

  #written(): Map<T, number> {
    const places = new Map<T, number>();
    for (let at = 0; at < this.#span; at++) {
      const place = (this.#head + at) | 0;
      const item = this.#items[place & (this.#items.length - 1)]!;
      if (item !== null) places.set(item, place);
    }
    return places;
  }

  /** Closes the gaps; doubles the ring where they are few. */
  #makeRoom(): void {
    const items: T[] = [];
    for (let at = 0; at < this.#span; at++) {
      const item = this.#items[(this.#head + at) & (this.#items.length - 1)]!;
      if (item !== null) items.push(item);
    }
    const capacity = this.#items.length * (items.length * 2 > this.#items.length ? 2 : 1);
    this.#items = new Array<T | null>(capacity).fill(null);
    for (let index = 0; index < items.length; index++) this.#items[index] = items[index]!;
    this.#head = 0;
    this.#span = items.length;
    if (this.#places !== null) this.#places = this.#written();
  }
}
