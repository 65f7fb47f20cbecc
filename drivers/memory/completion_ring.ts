/** Answers of the disk that the queue has not looked at yet: tag and result, in order. Bounded by the requests in flight. */
export class CompletionRing {
  readonly #slots: Int32Array;
  readonly #generations: Int32Array;
  readonly #results: Float64Array;
  readonly #capacity: number;
  #head = 0;
  #count = 0;

  /** Makes a ring for at most `capacity` answers. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#slots = new Int32Array(capacity);
    this.#generations = new Int32Array(capacity);
    this.#results = new Float64Array(capacity);
  }

  /** Answers in the ring. */
  get count(): number {
    return this.#count;
  }

  /** Adds an answer: bytes or −errno. */
  push(slot: number, generation: number, result: number): void {
    const at = (this.#head + this.#count++) % this.#capacity;
    this.#slots[at] = slot;
    this.#generations[at] = generation;
    this.#results[at] = result;
  }

  /** Passes all answers that are there now to `visit`, oldest first; returns how many. */
  takeAll(visit: (slot: number, generation: number, result: number) => void): number {
    const count = this.#count;
    for (let index = 0; index < count; index++) {
      const at = this.#head;
      this.#head = (at + 1) % this.#capacity;
      this.#count--;
      visit(this.#slots[at]!, this.#generations[at]!, this.#results[at]!);
    }
    return count;
  }
}
