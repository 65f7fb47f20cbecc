/**
 * Where a file ends around each read of it: libblkio fills with zeroes what a read did not reach, and does not say how
 * much that was. What lies before the end both before and after the read was there.
 */
export class FileEnds {
  readonly #ask: () => number;
  /** End of the file before the read in a slot was handed over, and of the read itself. */
  readonly #before: Float64Array;
  readonly #readTo: Float64Array;
  /** The end as it was when it was last asked for. */
  #known = -1;
  /** The same in this pass; −1 while no request has asked. */
  #now = -1;

  /** Asks `ask` for the end, or −errno, for reads in `slots` slots. */
  constructor(ask: () => number, slots: number) {
    this.#ask = ask;
    this.#before = new Float64Array(slots);
    this.#readTo = new Float64Array(slots);
  }

  /**
   * Learns where the file ends, before a read up to `readTo` is handed over: 0 or −errno. The file is asked only where that
   * is beyond what is known of it.
   */
  look(readTo: number): number {
    if (readTo <= this.#known) return 0;
    const end = this.#ask();
    if (end < 0) return end;
    this.#known = end;
    return 0;
  }

  /** A read up to `readTo` is about to be handed over, after a look. */
  beforeRead(slot: number, readTo: number): void {
    this.#before[slot] = this.#known;
    this.#readTo[slot] = readTo;
  }

  /** A pass over completions begins. */
  startPass(): void {
    this.#now = -1;
  }

  /**
   * Bytes of the completed read in `slot`, of `byteLength` from `start` on, that the file had, or −errno. Asks once in a
   * pass.
   */
  bytesOf(slot: number, start: number, byteLength: number): number {
    if (this.#now < 0) {
      const end = this.#ask();
      if (end < 0) return end;
      this.#known = this.#now = end;
    }
    return Math.max(0, Math.min(byteLength, Math.min(this.#now, this.#before[slot]!) - start));
  }

  /**
   * Whether the read in `slot` went over the end. libblkio reads on by itself where an answer was short; inside of a block
   * a direct read cannot start, which the kernel minds only if the file has grown meanwhile.
   */
  wentOver(slot: number): boolean {
    return this.#before[slot]! < this.#readTo[slot]!;
  }
}
