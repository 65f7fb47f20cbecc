/**
 * Values of a job file that stand for others: `${VARIABLE}`, fio's own words such as `$ncpus`, and sums in parentheses.
 * Source: fio's HOWTO, "Environment variables", "Reserved keywords" and "Parameter types".
 *
 * @module
 */
import { misuse } from "../failure.ts";

/** What values can ask for. */
export interface Variables {
  /** An environment variable, or undefined where it is not set. */
  get(name: string): string | undefined;
  /** fio's reserved words by name: `pagesize`, `mb_memory`, `ncpus`. */
  readonly words: Readonly<Record<string, number>>;
}

/** Factors of fio's suffixes inside of a sum, with `kb_base=1024`. */
const SUFFIX: Readonly<Record<string, number>> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4, p: 1024 ** 5 };

/** Parentheses and powers inside each other in a sum. */
const MAX_SUM_DEPTH = 100;

/** Puts variables and words into a value. `what` names it in refusals. */
export function expandWords(value: string, what: string, { get, words }: Variables): string {
  return value
    .replace(/\$\{([^}]*)\}/g, (_, name: string) => {
      const found = get(name);
      if (found === undefined) {
        throw misuse(
          `Cannot use ${what}: ${name || "a variable without a name"} is not set, or kept back by -P, wanted it set`,
        );
      }
      return found;
    })
    .replace(/\$([a-z_]+)/g, (whole, name: string) => Object.hasOwn(words, name) ? String(words[name]) : whole);
}

/** The number that a sum in parentheses stands for, as `(2*4k)`; a value without parentheses stays as it is. */
export function evaluate(value: string, what: string): string {
  const sum = /^\((.*)\)$/.exec(value)?.[1];
  if (sum === undefined) return value;
  const result = new Sum(value, what).all();
  if (Number.isSafeInteger(result) && result >= 0) return String(result);
  throw misuse(`Cannot use ${what}: it makes ${result}, wanted a whole number below 2^53`);
}

/** Recursive descent over `+ - * / % ^`, parentheses and numbers with a suffix. */
class Sum {
  readonly #tokens: readonly string[];
  readonly #what: string;
  #next = 0;
  #depth = 0;

  constructor(text: string, what: string) {
    this.#what = what;
    this.#tokens = text.match(/\d+(?:\.\d+)?[a-z]*|[-+*/%^()]|\S/gi) ?? [];
  }

  all(): number {
    const result = this.#added();
    if (this.#next < this.#tokens.length) throw this.#wrong();
    return result;
  }

  #added(): number {
    let left = this.#multiplied();
    for (let operator = this.#taken("+", "-"); operator !== ""; operator = this.#taken("+", "-")) {
      const right = this.#multiplied();
      left = operator === "+" ? left + right : left - right;
    }
    return left;
  }

  #multiplied(): number {
    let left = this.#raised();
    for (let operator = this.#taken("*", "/", "%"); operator !== ""; operator = this.#taken("*", "/", "%")) {
      const right = this.#raised();
      // fio computes in whole numbers.
      left = operator === "*" ? left * right : operator === "/" ? Math.trunc(left / right) : left % right;
    }
    return left;
  }

  /** Every way into the depth comes through here. */
  #raised(): number {
    if (++this.#depth > MAX_SUM_DEPTH) {
      throw misuse(
        `Cannot use ${this.#what}: its parts lie too deep, wanted at most ${MAX_SUM_DEPTH} inside each other`,
      );
    }
    const left = this.#single();
    const result = this.#taken("^") === "" ? left : left ** this.#raised();
    this.#depth--;
    return result;
  }

  #single(): number {
    let sign = 1;
    while (this.#taken("-") !== "") sign = -sign;
    return sign * this.#unsigned();
  }

  #unsigned(): number {
    if (this.#taken("(") !== "") {
      const inner = this.#added();
      if (this.#taken(")") === "") throw this.#wrong();
      return inner;
    }
    const [, digits, suffix] = /^(\d+(?:\.\d+)?)([a-z]?)$/i.exec(this.#tokens[this.#next] ?? "") ?? [];
    const factor = suffix === "" ? 1 : SUFFIX[suffix?.toLowerCase() ?? ""];
    if (digits === undefined || factor === undefined) throw this.#wrong();
    this.#next++;
    return Number(digits) * factor;
  }

  /** The next token where it is one of these, else `""`. */
  #taken(...wanted: readonly string[]): string {
    const token = this.#tokens[this.#next] ?? "";
    if (!wanted.includes(token)) return "";
    this.#next++;
    return token;
  }

  #wrong(): Error {
    const token = this.#tokens[this.#next];
    const found = token === undefined ? "it ends too early" : `${token} stands where it cannot`;
    return misuse(`Cannot use ${this.#what}: ${found}, wanted numbers with + - * / % ^ and parentheses`);
  }
}
