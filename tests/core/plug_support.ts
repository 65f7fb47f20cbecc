/** What the plug's and the batching modes' tests share. */
import assert from "node:assert/strict";
import { plug, plugDepth, unplug } from "../../core/plug/plug.ts";

/** A log and functions that write their name and argument to it. */
export function recorder(): { log: string[]; named: (name: string, then?: () => void) => (arg: string) => void } {
  const log: string[] = [];
  const named = (name: string, then?: () => void) => (arg: string) => {
    log.push(`${name}(${arg})`);
    then?.();
  };
  return { log, named };
}

/** What `action` throws; fails if it throws nothing. */
export function thrownBy(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  assert.fail("nothing was thrown");
}

/** No section is open, and nothing is left in the list. */
export function assertUnplugged(log: string[]): void {
  assert.equal(plugDepth(), 0);
  const ran = log.length;
  plug();
  unplug();
  assert.equal(log.length, ran, "an empty section must run nothing");
}
