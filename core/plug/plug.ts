/**
 * The plug: one submission for many requests, by deferring calls until the current Worker is unplugged.
 *
 * ```text
 *   caller                          driver                              depth   list
 *   ------                          ------                              -----   ----
 *   plug()                                                              1       -
 *     read(a)  ───────────────────▶ queue a, plugCall(submit, ring)     1       submit(ring)
 *     read(b)  ───────────────────▶ queue b, plugCall(submit, ring)     1       submit(ring)    a repeat: dropped
 *   unplug()   ───────────────────▶ submit(ring): a and b in one call   0       -
 *   read(c)    ───────────────────▶ queue c, plugCall(submit, ring):    0       -
 *                                   submit(ring) runs before it returns
 * ```
 *
 * A driver never asks whether it is plugged. It names the work that may wait, as a stable function and an argument,
 * and the Worker decides when that work runs. The state belongs to the Worker, not to a device, so several Workers can
 * drive one device. QEMU's series "block: add blk_io_plug_call() API" (2023) introduced this design; its present form
 * is QEMU's `util/defer-call.c`. The difference: this list is detached before it runs, so that a deferred call which
 * opens a section of its own never runs an entry twice.
 *
 * @module
 */
import { type CallList, type DeferredCall, newCallList, recordCall, runCalls, throwCollected } from "./call_list.ts";
import { InvariantError } from "../base/invariant.ts";
import { FUNCTION, OptionTable } from "../base/options.ts";
import { shown } from "../base/shown.ts";

export type { DeferredCall } from "./call_list.ts";

/**
 * Most sections that may be open inside each other, in sections. Real code nests a handful; 100,000 must work, and
 * beyond a million a `plug()` without its end is the only explanation left.
 */
export const MAX_PLUG_DEPTH = 2 ** 20;

/**
 * Most flushes that may run inside each other, in flushes. Each one is a deferred call whose own section ended with
 * calls of its own. A round takes about four stack frames, so this bound is reached well before V8's stack of about 1 MB ends.
 */
export const MAX_FLUSH_ROUNDS = 256;

/** Serials wrap here, in sections: below 2^30 a number is a V8 small integer in every build and needs no heap. */
const SERIAL_MASK = 2 ** 30 - 1;

/** An open plugged section. Disposing of it ends the section; doing so again is harmless. */
export interface Plugged extends Disposable {
  /**
   * Ends the section. Does nothing when the section has ended already, by this or by {@link unplug}.
   *
   * @throws what the deferred calls threw, see {@link unplug}.
   */
  [Symbol.dispose](): void;
}

/** What {@link setPlugDebug} takes. */
export interface PlugDebugOptions {
  /** Receives one message for each section still open at the next macrotask, and the stack of its outermost `plug()`. */
  report: (message: string, openedAt: string) => void;
}

/** Data only, no methods: another copy of this module, of another version, operates on the same object. */
interface PlugState {
  /** Open sections. */
  depth: number;
  /** Serial of the section opened last. */
  serial: number;
  /** Serials of the open sections, outermost first; valid below `depth`. */
  readonly open: number[];
  /** Where the open section records; never a list that is being run. */
  list: CallList;
  /** Empty lists for the next flush to swap in; as many as flushes have ever nested. */
  readonly spares: CallList[];
  /** Flushes running now, inside each other. */
  rounds: number;
  debug: PlugDebugOptions | null;
  /** Debug mode: made by the outermost `plug()`; its stack is rendered only when it is reported. */
  openedAt: Error | null;
  /** Debug mode: a check is already scheduled; one serves all sections of a turn. */
  checkPending: boolean;
}

/**
 * Raise the version when the meaning of a field changes. The state is made at import rather than at first use: the
 * compiler can then treat it as a constant, and the only trace on `globalThis` is this key.
 */
const STATE_KEY = Symbol.for("plugio.plug.v1");
const state: PlugState = sharedState();

function sharedState(): PlugState {
  const holder = globalThis as unknown as Record<symbol, PlugState | undefined>;
  return holder[STATE_KEY] ??= {
    depth: 0,
    serial: 0,
    open: [],
    list: newCallList(),
    spares: [],
    rounds: 0,
    debug: null,
    openedAt: null,
    checkPending: false,
  };
}

/** Needs no flag of its own: the serial of an ended section is no longer among the open ones. */
class Section implements Plugged {
  readonly #serial: number;

  constructor(serial: number) {
    this.#serial = serial;
  }

  [Symbol.dispose](): void {
    endSection(this.#serial);
  }
}

/**
 * Opens a plugged section on the current Worker: until its end, {@link plugCall} records instead of running.
 *
 * Sections nest, and only the end of the outermost one runs the recorded calls. A section must not span an `await`
 * (other tasks of the Worker would be held back, see {@link setPlugDebug}), and nothing may wait synchronously for I/O
 * inside one. Other Workers are not affected. A Worker that exits inside a section drops its deferred calls.
 *
 * @returns the section, for `using`; a caller that pairs `plug()` with {@link unplug} can ignore it, and then V8 does
 * not even allocate it. A hot loop prefers that pair or {@link plugged}: `using` itself costs about 150 ns in V8 15.
 * @throws {InvariantError} beyond {@link MAX_PLUG_DEPTH} open sections, or in a deferred call that runs inside
 * {@link MAX_FLUSH_ROUNDS} flushes. The section is not opened then.
 *
 * @example
 * ```ts
 * import { plug, plugCall } from "./plug.ts";
 *
 * let submitCount = 0;
 * const submit = (_queue: string) => void submitCount++;
 * {
 *   using _batch = plug();
 *   for (let i = 0; i < 32; i++) plugCall(submit, "queue 0");
 *   console.assert(submitCount === 0);
 * }
 * console.assert(submitCount === 1);
 * ```
 */
export function plug(): Plugged {
  return new Section(beginSection());
}

/**
 * Ends the innermost open section of the current Worker: the plain form, for `try`/`finally`.
 *
 * At the outermost end every deferred call runs once, in order of first insertion. Sections opened by a deferred call
 * flush their own calls only, and a {@link plugCall} made directly by a deferred call runs at once.
 *
 * @throws {InvariantError} when no section is open; the state is unchanged.
 * @throws what a deferred call threw, as it is, or an `AggregateError` in order of running when several threw. All
 * other calls have run by then, no section is open and nothing is recorded.
 */
export function unplug(): void {
  if (state.depth === 0) throw new InvariantError("Cannot unplug: no section is open, want a plug() before");
  endInnermost();
}

/**
 * Calls `fn(arg)` when the current Worker is unplugged: before returning if no section is open, else at the end of the
 * outermost section.
 *
 * A pair of the same `fn` and the same `arg` is recorded once a section, at its first position, so pass a stable
 * function and the object it works on. A closure made for each call is never a repeat. Finding a repeat takes one step for
 * the entry recorded last and a linear search otherwise: sections are meant to hold a few different calls.
 *
 * @param fn see {@link DeferredCall}.
 * @param arg what `fn` gets. It is held until the end of the section and no longer; if it is closed in between, `fn`
 * must do nothing for it.
 * @throws what `fn` throws, if no section is open.
 */
export function plugCall<T>(fn: DeferredCall<T>, arg: T): void {
  if (typeof fn !== "function") refuseFunction("defer", fn);
  if (state.depth === 0) fn(arg);
  else recordCall(state.list, fn, arg);
}

/**
 * Runs a synchronous `body` in a plugged section and returns its result.
 *
 * @throws {TypeError} when `body` returns a promise or another thenable: the section has ended by then, and what the
 * body did after its first `await` was not plugged.
 * @throws what `body` or a deferred call threw, see {@link unplug}; if both threw, a `SuppressedError` as from `using`,
 * with the body's error as `suppressed`.
 *
 * @example
 * ```ts
 * import { plugCall, plugged } from "./plug.ts";
 *
 * const log: string[] = [];
 * const submit = (queue: string) => void log.push(`submit ${queue}`);
 * const count = plugged(() => {
 *   plugCall(submit, "queue 0");
 *   log.push("queued");
 *   return 1;
 * });
 * console.assert(count === 1 && log.join() === "queued,submit queue 0");
 * ```
 */
export function plugged<T>(body: () => T): T {
  if (typeof body !== "function") refuseFunction("run", body);
  const serial = beginSection();
  let result: T;
  try {
    result = body();
    if (isThenable(result)) {
      throw new TypeError("Cannot run an asynchronous body in a plugged section: it returned a promise, want a value");
    }
  } catch (bodyError) {
    try {
      endSection(serial);
    } catch (endError) {
      throw new SuppressedError(endError, bodyError, "A deferred call threw after the body of its section had thrown");
    }
    throw bodyError;
  }
  endSection(serial);
  return result;
}

/** Number of open sections of the current Worker; for assertions and tests, a driver has no need to ask. */
export function plugDepth(): number {
  return state.depth;
}

/**
 * Turns debug mode on or, with `null`, off for the current Worker and all copies of this module in it. When on, a
 * section that is still open at the next macrotask, so one that spans an `await` or was never ended, is reported once.
 *
 * @example
 * ```ts
 * import { setPlugDebug } from "./plug.ts";
 *
 * setPlugDebug({ report: (message, openedAt) => console.warn(message, openedAt) });
 * setPlugDebug(null);
 * ```
 */
export function setPlugDebug(options: PlugDebugOptions | null): void {
  if (options !== null) DEBUG_OPTIONS.check("report", DEBUG_OPTIONS.read(options).report);
  state.debug = options;
  state.openedAt = null;
}

/** Opens a section and returns its serial. Small on purpose, so that V8 inlines it together with plug(). */
function beginSection(): number {
  const depth = state.depth;
  if (depth >= MAX_PLUG_DEPTH) refuseDepth();
  if (depth === 0) {
    // Refused here and not at the end: nothing has been recorded yet, so no deferred call is lost.
    if (state.rounds >= MAX_FLUSH_ROUNDS) refuseRounds();
    if (state.debug !== null) watchSection();
  }
  const serial = (state.serial + 1) & SERIAL_MASK;
  state.serial = serial;
  state.open[depth] = serial;
  state.depth = depth + 1;
  return serial;
}

/** Ends the section of `serial` wherever it is in the nesting, or does nothing if it has ended. */
function endSection(serial: number): void {
  const open = state.open;
  let at = state.depth - 1;
  while (at >= 0 && open[at] !== serial) {
    // Serials grow inwards, so behind an older one the search is over. The mask makes the comparison survive wrapping.
    if (((serial - open[at]!) & SERIAL_MASK) <= SERIAL_MASK / 2) return;
    at--;
  }
  if (at < 0) return;
  // Ended out of order: the inner sections stay open, each with its own end still to come.
  if (at !== state.depth - 1) open.copyWithin(at, at + 1, state.depth);
  endInnermost();
}

function endInnermost(): void {
  const depth = state.depth - 1;
  state.depth = depth;
  if (depth === 0 && state.list.count !== 0) flush();
}

/** Detaches the list and runs it. Sections that its calls open record into another list and flush inside this flush. */
function flush(): void {
  const list = state.list;
  const total = list.count;
  state.list = state.spares.pop() ?? newCallList();
  let errors: unknown[] | null;
  state.rounds++;
  try {
    errors = runCalls(list);
    state.spares.push(list);
    if (state.depth !== 0) errors = closeLeftOpen(errors);
  } finally {
    state.rounds--;
  }
  if (errors !== null) throwCollected(errors, total);
}

/** Keeps the promise that no section is open after a flush, when a deferred call opened one and did not end it. */
function closeLeftOpen(errors: unknown[] | null): unknown[] {
  const collected = errors ?? [];
  collected.push(new InvariantError(`Cannot leave ${state.depth} sections open in a deferred call, want 0`));
  state.depth = 0;
  try {
    if (state.list.count !== 0) flush();
  } catch (error) {
    collected.push(error);
  }
  return collected;
}

const DEBUG_OPTIONS = new OptionTable<PlugDebugOptions>("debug the plug with", { report: FUNCTION });

function refuseFunction(action: string, value: unknown): never {
  throw new TypeError(`Cannot ${action} ${shown(value)} in a plugged section: wanted a function`);
}

function refuseDepth(): never {
  throw new InvariantError(`Cannot plug: ${state.depth} sections are open, want fewer than ${MAX_PLUG_DEPTH}`);
}

function refuseRounds(): never {
  throw new InvariantError(
    `Cannot plug in a deferred call: ${state.rounds} flushes run inside each other, want fewer than ${MAX_FLUSH_ROUNDS}`,
  );
}

function isThenable(value: unknown): boolean {
  return (typeof value === "object" || typeof value === "function") && value !== null && "then" in value &&
    typeof value.then === "function";
}

function watchSection(): void {
  state.openedAt = new Error("Opened here");
  if (state.checkPending) return;
  state.checkPending = true;
  setTimeout(reportLeftOpen, 0);
}

/** Runs as a macrotask of its own, where no synchronous code is below: any open section has outlived its turn. */
function reportLeftOpen(): void {
  state.checkPending = false;
  if (state.depth === 0 || state.debug === null) return;
  state.debug.report(
    `A plugged section is still open at the next macrotask (depth ${state.depth}), want its end before any await`,
    state.openedAt?.stack ?? "Opened before debug mode was on",
  );
}
