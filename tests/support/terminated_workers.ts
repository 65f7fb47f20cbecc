/**
 * Workers that are terminated while they have a device open, and what this process holds before and after. For a process
 * of its own, where nothing else opens and maps.
 *
 * @module
 */
import { listFolder } from "../../ffi/libc/mod.ts";
import { readSystemFile } from "../../ffi/sysfs.ts";
import type { DeviceOptions } from "../../mod.ts";
import type { ReaderTask } from "../drivers/workers/reader_until_terminated.ts";

const READER = new URL("../drivers/workers/reader_until_terminated.ts", import.meta.url);

/** Looks at the figures until they are as before, and milliseconds between them. */
const LOOKS = 100;
const LOOK_MS = 50;

/** Buffers that a busy Worker reads into, each twice at a time. */
const READS_IN_FLIGHT = 8;

/** What a process holds. */
export interface Holdings {
  readonly descriptors: number;
  readonly mappings: number;
  /** Contexts of Linux AIO. */
  readonly contexts: number;
  readonly threads: number;
  /** VmPin and VmLck. */
  readonly lockedKiB: number;
  readonly residentKiB: number;
}

/** Reads them. */
export function holdings(): Holdings {
  const status = readSystemFile("/proc/self/status") ?? "";
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? NaN);
  const maps = (readSystemFile("/proc/self/maps") ?? "").split("\n");
  return {
    descriptors: listFolder("/proc/self/fd", 100_000).length,
    mappings: maps.length,
    contexts: maps.filter((line) => line.endsWith("/[aio] (deleted)") || line.endsWith("/[aio]")).length,
    threads: number("Threads"),
    lockedKiB: number("VmPin") + number("VmLck"),
    residentKiB: number("VmRSS"),
  };
}

/** What {@link terminateWorkers} does. */
export interface Terminations {
  readonly count: number;
  readonly target: string;
  /** Ways of opening it, which take turns. */
  readonly variants: readonly DeviceOptions[];
  /** Each Worker serves it as well. Default false. */
  readonly served?: boolean;
}

/**
 * Starts and terminates `count` Workers one after the other: those of a round of variants without reads in flight, those
 * of the next with. Resolves to the holdings after a round, for what the runtime and the allocator keep for all that
 * follow, and at the end: as soon as they are down again, or after some seconds.
 */
export async function terminateWorkers(options: Terminations): Promise<{ before: Holdings; after: Holdings }> {
  const { count, target, variants, served = false } = options;
  const terminate = (index: number) => {
    const depth = Math.floor(index / variants.length) % 2 === 0 ? 0 : READS_IN_FLIGHT;
    return terminateOne({ target, options: variants[index % variants.length]!, depth, served });
  };
  for (let index = 0; index < variants.length; index++) await terminate(index);
  await pause(10 * LOOK_MS);
  const before = holdings();
  for (let index = 0; index < count; index++) await terminate(index + variants.length);
  let after = holdings();
  for (let look = 0; look < LOOKS && exceeds(after, before); look++) {
    await pause(LOOK_MS);
    after = holdings();
  }
  return { before, after };
}

/** True where `after` holds more of anything that is counted exactly. */
function exceeds(after: Holdings, before: Holdings): boolean {
  return (["descriptors", "contexts", "threads", "lockedKiB"] as const).some((name) => after[name] > before[name]);
}

async function terminateOne(task: ReaderTask): Promise<void> {
  const worker = new Worker(READER, { type: "module" });
  try {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    worker.onmessage = resolve;
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(task);
    await promise;
  } finally {
    worker.terminate();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
