/**
 * Batching modes: when a deferred call runs. Each mode is one function of the shape of {@link plugCall}, chosen once
 * when a queue is made, so that the steady path has no switch on the mode.
 *
 * | mode | inside a plugged section | outside |
 * |---|---|---|
 * | `none` | at once | at once |
 * | `plug` | at the end of the outermost section | at once |
 * | `dispatch` | in one microtask after the running job | in one microtask after the running job |
 * | `auto` | as `plug` | as `dispatch` |
 *
 * @module
 */
import { type CallList, type DeferredCall, newCallList, recordCall, runCalls, throwCollected } from "./call_list.ts";
import { plugCall, plugDepth } from "./plug.ts";
import { shown } from "../base/shown.ts";

/** When a queue submits what was handed to it; see the table of this module. */
export type BatchMode = "none" | "plug" | "dispatch" | "auto";

/** All batching modes, from the least batching to the most. */
export const BATCH_MODES: readonly BatchMode[] = ["none", "plug", "dispatch", "auto"];

/** The modes of a device: those of its queue, and `device`, the plug of old (core/device/device_plug.ts). */
export type DeviceBatchMode = BatchMode | "device";

/** All modes of a device, from the least batching to the most. */
export const DEVICE_BATCH_MODES: readonly DeviceBatchMode[] = ["none", "device", "plug", "dispatch", "auto"];

/** A function of the shape of {@link plugCall}: runs `fn(arg)` now or later, a repeat of the pair only once. */
export type DeferCall = <T>(fn: DeferredCall<T>, arg: T) => void;

/**
 * Returns the function that defers calls in `mode`; the same one each time.
 *
 * What a call throws reaches the caller if it runs at once, and the end of the section in mode `plug`. A call run by
 * the microtask of mode `dispatch` has no caller: after the others have run, its error becomes an uncaught error of
 * the Worker, so a driver's submit function should report failures by completing its requests.
 *
 * @throws {TypeError} for a mode that does not exist.
 *
 * @example
 * ```ts
 * import { deferCallFor } from "./batching.ts";
 *
 * let submitCount = 0;
 * const submit = (_queue: string) => void submitCount++;
 * const deferCall = deferCallFor("dispatch");
 * deferCall(submit, "queue 0");
 * deferCall(submit, "queue 0");
 * console.assert(submitCount === 0);
 * await Promise.resolve();
 * console.assert(submitCount === 1);
 * ```
 */
export function deferCallFor(mode: BatchMode): DeferCall {
  switch (mode) {
    case "none":
      return callNow;
    case "plug":
      return plugCall;
    case "dispatch":
      return dispatchCall;
    case "auto":
      return autoCall;
    default:
      throw new TypeError(`Cannot batch in mode ${shown(mode)}, want one of ${BATCH_MODES.join(", ")}`);
  }
}

function callNow<T>(fn: DeferredCall<T>, arg: T): void {
  fn(arg);
}

function autoCall<T>(fn: DeferredCall<T>, arg: T): void {
  if (plugDepth() > 0) plugCall(fn, arg);
  else dispatchCall(fn, arg);
}

/*
 * Per Worker, like the plug, but not shared between copies of the module: each copy's queues are its own, so a shared
 * list could not drop one more repeat.
 */
let recording: CallList = newCallList();
let idle: CallList = newCallList();
/** What the running round leads to. */
const followUps: CallList = newCallList();
let inRound = false;

function dispatchCall<T>(fn: DeferredCall<T>, arg: T): void {
  // The list is empty exactly when no microtask is pending: that one detaches it before it runs anything.
  if (recording.count === 0) queueMicrotask(dispatch);
  recordCall(recording, fn, arg);
}

/**
 * Runs one round. Calls deferred meanwhile wait for the next microtask; two lists suffice because microtasks do not
 * nest. The number of rounds is not bounded: a chain of awaited reads that complete at once is one round each, too.
 */
function dispatch(): void {
  const list = recording;
  const total = list.count;
  recording = idle;
  idle = list;
  inRound = true;
  const errors = runCalls(list);
  inRound = false;
  const followCount = followUps.count;
  const followErrors = followCount > 0 ? runCalls(followUps) : null;
  if (errors === null && followErrors === null) return;
  throwCollected([...errors ?? [], ...followErrors ?? []], total + followCount);
}

/**
 * Runs `fn` soon, behind the running job: what a round of `dispatch` leads to runs at the end of its microtask, which
 * saves another one, everything else in a microtask of its own.
 */
export function soon(fn: () => void): void {
  if (inRound) recordCall(followUps, fn, undefined);
  else queueMicrotask(fn);
}
