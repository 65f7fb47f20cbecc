import type { Random } from "../../core/base/random.ts";

/** Rounds of the network, two half-rounds each: four half-rounds are enough for a strong cipher (Luby and Rackoff, 1988). */
const ROUNDS = 2;

/**
 * A random order of the numbers 0 … count − 1 that needs no memory for each of them: a Feistel network over the next
 * power of two, whose results beyond the end are sent through again (Black and Rogaway, "Ciphers with arbitrary finite
 * domains", 2002: cycle walking). Less than two trips on average.
 */
export class BlockPermutation {
  readonly #count: number;
  readonly #rightSize: number;
  readonly #leftMask: number;
  readonly #rightMask: number;
  readonly #keys = new Int32Array(2 * ROUNDS);

  /** Makes an order of `count` numbers, from 1 to 2^53. */
  constructor(count: number, random: Random) {
    this.#count = count;
    let bits = 2;
    while (2 ** bits < count) bits++;
    const rightBits = Math.ceil(bits / 2);
    this.#rightSize = 2 ** rightBits;
    this.#rightMask = this.#rightSize - 1;
    this.#leftMask = 2 ** (bits - rightBits) - 1;
    this.shuffle(random);
  }

  /** Takes another order. */
  shuffle(random: Random): void {
    for (let i = 0; i < this.#keys.length; i++) this.#keys[i] = random.uint32() | 0;
  }

  /** The number at place `index` of the order. Each number is at exactly one place. */
  at(index: number): number {
    const keys = this.#keys;
    let value = index;
    do {
      let left = Math.floor(value / this.#rightSize);
      let right = value - left * this.#rightSize;
      for (let i = 0; i < 2 * ROUNDS; i += 2) {
        left ^= mix(right ^ keys[i]!) & this.#leftMask;
        right ^= mix(left ^ keys[i + 1]!) & this.#rightMask;
      }
      value = left * this.#rightSize + right;
    } while (value >= this.#count);
    return value;
  }
}

/** Spreads each bit over all others (the finalizer of MurmurHash3). */
function mix(value: number): number {
  let z = value ^ (value >>> 16);
  z = Math.imul(z, 0x85ebca6b);
  z ^= z >>> 13;
  z = Math.imul(z, 0xc2b2ae35);
  return z ^ (z >>> 16);
}
