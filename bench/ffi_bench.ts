/**
 * The native calls of the hot path, each twice: directly, which V8 compiles into the caller, and through a Proxy, which
 * it never can. When both cost the same, the fast way has been lost, as it was in denoland/deno#15125 and #23983.
 */
import { newEventFd } from "../ffi/libc/mod.ts";
import { LIBC, LIBC_SYMBOLS } from "../ffi/libc/symbols.ts";
import { Ring } from "../ffi/liburing/mod.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../ffi/liburing/symbols.ts";
import { loadLibrary } from "../ffi/loader.ts";
import { context, OPERATIONS, register } from "./support.ts";

context();

const NO_RING = 0xffff_ffff;
const ONE = new Uint8Array(Uint32Array.of(1, 0).buffer);

const { io_uring_enter: enter } = loadLibrary(LIBURING, LIBURING_SYMBOLS).symbols;
const { write, close, __errno_location: errnoLocation } = loadLibrary(LIBC, LIBC_SYMBOLS).symbols;
const slowEnter = new Proxy(enter, {});
const slowWrite = new Proxy(write, {});
const slowErrnoLocation = new Proxy(errnoLocation, {});

const ring = new Ring({ sqEntries: 8, cqEntries: 64, flagSets: [0], registered: true });
const eventFd = newEventFd();
globalThis.addEventListener("unload", () => {
  ring[Symbol.dispose]();
  close(eventFd);
});

const noCall = { group: "__errno_location, no system call" };
register("1000 × __errno_location by Proxy", { ...noCall, baseline: true }, () => {
  for (let i = 0; i < OPERATIONS; i++) slowErrnoLocation();
});
register("1000 × __errno_location", noCall, () => {
  for (let i = 0; i < OPERATIONS; i++) errnoLocation();
});

const enterCall = { group: "io_uring_enter" };
register("1000 × io_uring_enter of no ring by Proxy", { ...enterCall, baseline: true }, () => {
  for (let i = 0; i < OPERATIONS; i++) slowEnter(NO_RING, 0, 0, 0, null);
});
register("1000 × io_uring_enter of no ring", enterCall, () => {
  for (let i = 0; i < OPERATIONS; i++) enter(NO_RING, 0, 0, 0, null);
});
register("1000 × io_uring_enter of 0 entries, as the driver calls it", enterCall, () => {
  for (let i = 0; i < OPERATIONS; i++) ring.enter(0, 0, false);
});
register("1000 × io_uring_enter that asks for completions", enterCall, () => {
  for (let i = 0; i < OPERATIONS; i++) ring.enter(0, 0, true);
});

const writeCall = { group: "write to an eventfd" };
register("1000 × write to an eventfd by Proxy", { ...writeCall, baseline: true }, () => {
  for (let i = 0; i < OPERATIONS; i++) slowWrite(eventFd, ONE, 8n);
});
register("1000 × write to an eventfd", writeCall, () => {
  for (let i = 0; i < OPERATIONS; i++) write(eventFd, ONE, 8n);
});
