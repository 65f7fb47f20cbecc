/**
 * Garbage collections on demand, for tests of who keeps what alive.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let gc: (() => void) | null = null;

/** Collects all garbage, twice and with junk in between, so that freed memory is used again. */
export function collectGarbage(): void {
  if (gc === null) {
    setFlagsFromString("--expose-gc");
    gc = runInNewContext("gc") as () => void;
  }
  gc();
  for (let junk = 0; junk < 20; junk++) new Uint8Array(65_536).fill(junk);
  gc();
}
