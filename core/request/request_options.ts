import { FLAG, number, type OptionRule, OptionTable } from "../base/options.ts";
import { Opcode, OPCODE_NAMES, RequestFlag } from "./request.ts";

/** Options of one request of the promise API. */
export interface RequestOptions {
  /**
   * Rejects at once with kind `aborted` when it fires; the buffer stays lent until the real completion. Null, as for
   * `fetch`, is none.
   */
  readonly signal?: AbortSignal | null;
  /** Rejects with kind `timeout` after so many milliseconds (Infinity: never); the buffer stays lent likewise. */
  readonly timeoutMs?: number;
}

/** Options of a write of the promise API. */
export interface WriteOptions extends RequestOptions {
  /** Force unit access: the promise resolves only when the data is durable. Default false. */
  readonly fua?: boolean;
}

/** The options of one request, each read once and checked. */
export interface RequestChoice {
  /** Gives the request up when it fires. */
  readonly signal: AbortSignal | null;
  /** Milliseconds until it is given up; Infinity is never. */
  readonly timeoutMs: number;
  /** RequestFlag bits. */
  readonly flags: number;
}

/** What a request without options has. */
export const NO_CHOICE: RequestChoice = { signal: null, timeoutMs: Infinity, flags: 0 };

const SIGNAL: OptionRule = { wanted: "an AbortSignal", isType: (value) => value === null || isSignal(value) };
const TIMEOUT = number("a number of milliseconds above 0", (value) => value > 0);

const PLAIN = new OptionTable<RequestOptions>("use", { signal: SIGNAL, timeoutMs: TIMEOUT });
const DURABLE = new OptionTable<WriteOptions>("use", { signal: SIGNAL, timeoutMs: TIMEOUT, fua: FLAG });

/** How messages begin, by opcode. */
const ACTIONS: readonly string[] = OPCODE_NAMES.map((name) => `${name} with`);

/** Reads the options of one request; returns what {@link OptionTable.read} throws. */
export function choiceOrError(op: Opcode, options: RequestOptions): RequestChoice | Error {
  const table: OptionTable<WriteOptions> = op === Opcode.write ? DURABLE : PLAIN as OptionTable<WriteOptions>;
  try {
    const { signal = null, timeoutMs = Infinity, fua } = table.read(options, ACTIONS[op]!);
    return { signal, timeoutMs, flags: fua === true ? RequestFlag.fua : 0 };
  } catch (error) {
    return error as Error;
  }
}

/** How long a caller wants to wait. Throws as {@link OptionTable.read} does; `action` begins messages. */
export function readWaitChoice(options: unknown, action: string): Pick<RequestChoice, "signal" | "timeoutMs"> {
  const { signal = null, timeoutMs = Infinity } = PLAIN.read(options, action);
  return { signal, timeoutMs };
}

/** An object that only inherits from a signal is none: its first use throws. */
function isSignal(value: unknown): boolean {
  try {
    return value instanceof AbortSignal && typeof value.aborted === "boolean";
  } catch {
    return false;
  }
}
