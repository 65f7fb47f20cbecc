/**
 * Entry of a Worker that reads through `node:fs/promises` as fast as it goes.
 *
 * @module
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Random } from "../../core/base/random.ts";
import { openDevice } from "../../mod.ts";
import { processUsage } from "../load/meter.ts";
import { longestRampMs } from "../load/options.ts";
import { shareOf } from "../load/plan.ts";
import { type OffsetSource, RandomOffsets, SequentialOffsets } from "../load/offsets.ts";

/** What one Worker does. Plain data. */
export interface NodeFsJob {
  readonly path: string;
  readonly driver: string;
  readonly direct: boolean;
  readonly blockBytes: number;
  readonly depth: number;
  readonly random: boolean;
  readonly offsetBytes: number;
  readonly sizeBytes: number | null;
  readonly sizePercent: number | null;
  readonly seed: number;
  readonly jobIndex: number;
  readonly jobCount: number;
  readonly rampMs: number;
  readonly rampIos: number;
  readonly runtimeMs: number;
}

/** Milliseconds of a ramp by number between two looks at the number. */
const RAMP_STEP_MS = 50;

/** What it answers. */
export type NodeFsReply =
  | {
    readonly type: "done";
    readonly ios: number;
    readonly elapsedMs: number;
    readonly userUs: number;
    readonly systemUs: number;
  }
  | { readonly type: "failed"; readonly message: string };

/** The part of a Worker's global scope that is used; the type checker assumes a window. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<NodeFsJob>) => void) | null;
  postMessage(message: NodeFsReply): void;
};

scope.onmessage = ({ data }) => {
  run(data).then(
    (reply) => scope.postMessage(reply),
    (error: unknown) =>
      scope.postMessage({ type: "failed", message: error instanceof Error ? error.message : String(error) }),
  );
};

async function run(job: NodeFsJob): Promise<NodeFsReply> {
  // Only for its memory: buffers of the JavaScript heap have no alignment that direct I/O could rely on.
  await using device = await openDevice(job.path, { driver: job.driver, direct: job.direct, readOnly: true });
  const handle = await open(job.path, constants.O_RDONLY | (job.direct ? constants.O_DIRECT : 0));
  try {
    const buffers = device.allocate(job.depth, job.blockBytes);
    const { size } = await handle.stat();
    const bytes = job.sizeBytes ?? shareOf(size, size - job.offsetBytes, job.sizePercent);
    const range = {
      startBytes: job.offsetBytes,
      blockBytes: job.blockBytes,
      blockCount: Math.floor(bytes / job.blockBytes),
    };
    if (range.blockCount < 1) throw new Error(`${job.path} has ${size} bytes, wanted at least one block`);
    const offsets = job.random
      ? new RandomOffsets(range, new Random(job.seed))
      : new SequentialOffsets(range, Math.floor((range.blockCount * job.jobIndex) / job.jobCount));
    await ramp(job, (ms) => readFor(handle, offsets, buffers, ms));
    const before = processUsage();
    const startMs = performance.now();
    const ios = await readFor(handle, offsets, buffers, job.runtimeMs);
    const elapsedMs = performance.now() - startMs;
    const after = processUsage();
    return {
      type: "done",
      ios,
      elapsedMs,
      userUs: after.userUs - before.userUs,
      systemUs: after.systemUs - before.systemUs,
    };
  } finally {
    await handle.close();
  }
}

/** Code that is compiled while it runs gets the same ramp as plugio's own. */
async function ramp(job: NodeFsJob, readFor: (ms: number) => Promise<number>): Promise<void> {
  const limitMs = performance.now() + longestRampMs(job);
  let ios = job.rampMs > 0 ? await readFor(job.rampMs) : 0;
  while (ios < job.rampIos && performance.now() < limitMs) ios += await readFor(RAMP_STEP_MS);
}

async function readFor(
  handle: FileHandle,
  offsets: OffsetSource,
  buffers: readonly Uint8Array[],
  ms: number,
): Promise<number> {
  const endMs = performance.now() + ms;
  let ios = 0;
  const lane = async (buffer: Uint8Array) => {
    while (performance.now() < endMs) {
      await handle.read(buffer, 0, buffer.length, offsets.next(false));
      ios++;
    }
  };
  await Promise.all(buffers.map(lane));
  return ios;
}
