import { StorageError } from "../../core/base/errors.ts";
import { DEFAULT_QUEUE_DEPTH } from "../../core/base/limits.ts";
import { LIBAIO, LIBAIO_SYMBOLS } from "../../ffi/libaio/symbols.ts";
import { loadLibrary } from "../../ffi/loader.ts";
import { aioNumbers, setupRemedy } from "../linux_aio/explain.ts";
import { acquireQueue, releaseQueue } from "../linux_aio/worker_queue.ts";
import { libraryVerdict } from "./library_verdict.ts";
import { type DriverReport, NO_DETAILS } from "./report.ts";

/** Finds out whether the linux_aio driver works here, by making the context that a device with default options uses. */
export async function probeLinuxAio(): Promise<DriverReport> {
  const numbers = aioNumbers();
  const blank = {
    driver: "linux_aio",
    reason: "",
    remedy: "",
    notes: [],
    library: { name: LIBAIO.name, foundAs: null },
    ...NO_DETAILS,
    aio: { ...numbers, needed: DEFAULT_QUEUE_DEPTH, readsRing: null },
  };
  let foundAs: string;
  try {
    ({ foundAs } = loadLibrary(LIBAIO, LIBAIO_SYMBOLS));
  } catch (error) {
    return { ...blank, state: "fails", ...libraryVerdict(error, LIBAIO) };
  }
  const found = { ...blank, library: { name: LIBAIO.name, foundAs } };
  try {
    const shared = acquireQueue({});
    const readsRing = shared.context.ring !== null;
    await releaseQueue(shared, false);
    return { ...found, state: "works", notes: notesOn(readsRing), aio: { ...found.aio, readsRing } };
  } catch (error) {
    if (!(error instanceof StorageError) || error.errno === 0) throw error;
    const [cause = "", remedy = ""] = setupRemedy(error.errno, DEFAULT_QUEUE_DEPTH, numbers).split("; wanted ");
    return {
      ...found,
      state: "fails",
      reason: `Cannot set up linux_aio: ${error.errnoName}: ${cause}`,
      remedy: `Wanted ${remedy}`,
    };
  }
}

function notesOn(readsRing: boolean): string[] {
  if (readsRing) return [];
  return ["The ring of completions has a form that is not known: each look at it is a system call"];
}
