/**
 * The other end of the forwarding library, in the process that uses it: which call is to fail, and what was counted.
 *
 * @module
 */
import { FORWARDED } from "./forwarder.ts";

const CONTROLS = {
  faults_arm: { parameters: ["i32", "i32", "i32", "i32"], result: "void" },
  faults_disarm: { parameters: [], result: "void" },
  faults_calls: { parameters: ["i32"], result: "i32" },
  faults_hits: { parameters: [], result: "i32" },
  faults_ledger: { parameters: ["buffer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Which calls fail, and how. */
export interface Fault {
  /** Name in C, or `"*"`: every function. */
  readonly symbol: string;
  /** The first call that fails, from 1 on. */
  readonly from: number;
  /** The last one. */
  readonly to: number;
  readonly errno: number;
}

/** What is in use through the functions of the library. */
export type Held = Readonly<Record<"mapped bytes" | "mappings" | "contexts", number>>;

/** The value of PLUGIO_FAULT. */
export function armedText({ symbol, from, to, errno }: Fault): string {
  return `${symbol}:${from}:${to}:${errno}`;
}

/** The library of this process. */
export class FaultControls {
  readonly #lib: Deno.StaticForeignLibraryInterface<typeof CONTROLS>;
  readonly #ledger = new Float64Array(3);

  /** Takes the library at `path`, which the override variables name as well. */
  constructor(path: string) {
    this.#lib = Deno.dlopen(path, CONTROLS).symbols;
  }

  /** Counts from 0 on; with `null` nothing fails. */
  arm(fault: Fault | null): void {
    const { symbol, from, to, errno } = fault ?? { symbol: "*", from: 0, to: 0, errno: 0 };
    this.#lib.faults_arm(symbol === "*" ? -1 : numberOf(symbol), from, to, errno);
  }

  /** Lets everything work again; the counts stay. */
  disarm(): void {
    this.#lib.faults_disarm();
  }

  /** Calls that failed on purpose since `arm`. */
  get hits(): number {
    return this.#lib.faults_hits();
  }

  /** Calls since `arm`, of those functions that were called. */
  calls(): Record<string, number> {
    const counts: Record<string, number> = {};
    FORWARDED.forEach(({ name }, index) => {
      const count = this.#lib.faults_calls(index);
      if (count > 0) counts[name] = count;
    });
    return counts;
  }

  /** What is in use. What failures of munmap and io_destroy have kept by their nature is given back first. */
  held(): Held {
    this.#lib.faults_ledger(new Uint8Array(this.#ledger.buffer));
    const [mappedBytes, mappings, contexts] = this.#ledger as unknown as [number, number, number];
    return { "mapped bytes": mappedBytes, mappings, contexts };
  }
}

function numberOf(symbol: string): number {
  const index = FORWARDED.findIndex(({ name }) => name === symbol);
  if (index < 0) throw new RangeError(`Cannot make ${symbol} fail: wanted a function of the symbol tables`);
  return index;
}
