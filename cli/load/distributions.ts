import type { Random } from "../../core/base/random.ts";
import type { RankSource } from "./offsets.ts";

/** Numbers of 53 bits that a uniform draw is made of. */
const STEPS = 2 ** 53;

/**
 * Ranks by Zipf's law: rank k (from 0) is drawn in proportion to 1 / (k + 1)^theta.
 *
 * Drawn by rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone
 * discrete distributions", 1996), which is exact for every theta above 0, 1 included, and needs no sum over all blocks
 * first. fio approximates the same law.
 */
export class ZipfRanks implements RankSource {
  readonly #count: number;
  readonly #theta: number;
  readonly #random: Random;
  readonly #areaFirst: number;
  readonly #areaAll: number;
  readonly #sureBelow: number;

  /** Prepares draws below `count`. */
  constructor(count: number, theta: number, random: Random) {
    this.#count = count;
    this.#theta = theta;
    this.#random = random;
    this.#areaFirst = this.#area(1.5) - 1;
    this.#areaAll = this.#area(count + 0.5);
    this.#sureBelow = 2 - this.#inverse(this.#area(2.5) - this.#weight(2));
  }

  next(): number {
    for (;;) {
      const u = this.#areaAll + (this.#random.below(STEPS) / STEPS) * (this.#areaFirst - this.#areaAll);
      const x = this.#inverse(u);
      const k = Math.min(this.#count, Math.max(1, Math.round(x)));
      if (k - x <= this.#sureBelow || u >= this.#area(k + 0.5) - this.#weight(k)) return k - 1;
    }
  }

  #weight(x: number): number {
    return Math.exp(-this.#theta * Math.log(x));
  }

  /** Integral of the weight from 1 to `x`. */
  #area(x: number): number {
    const logarithm = Math.log(x);
    return expm1Over((1 - this.#theta) * logarithm) * logarithm;
  }

  #inverse(area: number): number {
    // Rounding may push the argument of the logarithm a hair below 0.
    const t = Math.max(-1, area * (1 - this.#theta));
    return Math.exp(log1pOver(t) * area);
  }
}

/** Below this, a quotient of two small numbers is replaced by its series. */
const SMALL = 1e-8;

/** (e^x − 1) / x, and 1 at 0. */
function expm1Over(x: number): number {
  return Math.abs(x) > SMALL ? Math.expm1(x) / x : 1 + x / 2;
}

/** log(1 + x) / x, and 1 at 0. */
function log1pOver(x: number): number {
  return Math.abs(x) > SMALL ? Math.log1p(x) / x : 1 - x / 2;
}

/**
 * Ranks of a Pareto distribution by fio's definition: the share `h` of all blocks gets the share 1 − h of all I/Os,
 * so 0.2 is the rule of 80 and 20.
 */
export class ParetoRanks implements RankSource {
  readonly #count: number;
  readonly #power: number;
  readonly #random: Random;

  /** Prepares draws below `count`; `h` is between 0 and 1. */
  constructor(count: number, h: number, random: Random) {
    this.#count = count;
    this.#power = Math.log(h) / Math.log(1 - h);
    this.#random = random;
  }

  next(): number {
    const rank = Math.floor(this.#count * Math.pow(this.#random.below(STEPS) / STEPS, this.#power));
    // A draw that rounds up to 1 would be one past the end.
    return Math.min(rank, this.#count - 1);
  }
}
