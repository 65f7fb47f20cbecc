/**
 * V8 compiles calls of native functions into their callers; whether Deno lets it has changed without a word before
 * (denoland/deno#15125, #23983). A Proxy around the same function never gets that, so it is the measure.
 */
import assert from "node:assert/strict";
import { LIBC, LIBC_SYMBOLS } from "../../ffi/libc/symbols.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../../ffi/liburing/symbols.ts";
import { loadLibrary } from "../../ffi/loader.ts";

const NO_RING = 0xffff_ffff;
const CALLS = 5000;
const ROUNDS = 40;

const { io_uring_enter: enter } = loadLibrary(LIBURING, LIBURING_SYMBOLS).symbols;
const { __errno_location: errnoLocation } = loadLibrary(LIBC, LIBC_SYMBOLS).symbols;
const slowEnter = new Proxy(enter, {});
const slowErrnoLocation = new Proxy(errnoLocation, {});

/** Nanoseconds of one call in the quietest of several rounds: noise only ever adds. */
function quietestNs(bodies: readonly (() => void)[]): number[] {
  const best = bodies.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, body] of bodies.entries()) {
      const startMs = performance.now();
      body();
      best[index] = Math.min(best[index]!, (performance.now() - startMs) * 1e6 / CALLS);
    }
  }
  return best;
}

Deno.test("a native call without a system call is compiled into its caller", () => {
  const [fastNs, slowNs] = quietestNs([
    () => {
      for (let i = 0; i < CALLS; i++) errnoLocation();
    },
    () => {
      for (let i = 0; i < CALLS; i++) slowErrnoLocation();
    },
  ]) as [number, number];
  // Measured: 3.5 against 55 ns.
  assert.ok(fastNs * 4 < slowNs, `${fastNs.toFixed(1)} ns directly, ${slowNs.toFixed(1)} ns through a Proxy`);
});

Deno.test("io_uring_enter, with all its parameters, is compiled into its caller", () => {
  const [fastNs, slowNs] = quietestNs([
    () => {
      for (let i = 0; i < CALLS; i++) enter(NO_RING, 0, 0, 0, null);
    },
    () => {
      for (let i = 0; i < CALLS; i++) slowEnter(NO_RING, 0, 0, 0, null);
    },
  ]) as [number, number];
  // Measured: 102 against 265 ns, of which the system call takes 95 either way.
  assert.ok(fastNs + 50 < slowNs, `${fastNs.toFixed(1)} ns directly, ${slowNs.toFixed(1)} ns through a Proxy`);
});
