import { TWO_32 } from "./sizes.ts";
import { wrongNumber } from "./numbers.ts";
import { shown } from "./shown.ts";

/** Largest limit: what a double counts exactly. */
const MAX_LIMIT = 2 ** 53;

/**
 * A seeded generator of 32-bit numbers, xoshiro128** (Blackman and Vigna, 2018), seeded through splitmix32.
 * Not for secrets. The same seed gives the same sequence on every machine; state is integers only, so that a call
 * allocates nothing.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Starts the sequence of `seed`, of which the low 32 bits count. */
  constructor(seed: number) {
    if (typeof seed !== "number") throw new TypeError(`Cannot use seed ${shown(seed)}: wanted a number`);
    let state = seed | 0;
    const split = () => {
      state = (state + 0x9e3779b9) | 0;
      let z = state ^ (state >>> 16);
      z = Math.imul(z, 0x21f0aaad);
      z ^= z >>> 15;
      z = Math.imul(z, 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.#a = split();
    this.#b = split();
    this.#c = split();
    this.#d = split();
  }

  /** The next number, uniform over 0 … 2^32 − 1. */
  uint32(): number {
    const b = this.#b;
    const five = Math.imul(b, 5);
    const result = Math.imul((five << 7) | (five >>> 25), 9);
    const t = b << 9;
    this.#c ^= this.#a;
    this.#d ^= b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** An integer, uniform enough over 0 … `limit` − 1; `limit` is at most 2^53 (bias below 2^-21 there). */
  below(limit: number): number {
    if (typeof limit !== "number" || !(limit >= 0 && limit <= MAX_LIMIT)) throw limitError(limit);
    if (limit <= TWO_32) return Math.floor((this.uint32() / TWO_32) * limit);
    const high = this.uint32() >>> 11;
    return Math.floor(((high * TWO_32 + this.uint32()) / 0x20000000000000) * limit);
  }
}

function limitError(limit: unknown): Error {
  return wrongNumber(limit, `Cannot choose below ${shown(limit)}: wanted an integer from 1 to 2^53`);
}
