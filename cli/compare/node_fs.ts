import { CliError, failed, misuse } from "../failure.ts";
import type { ExitCode } from "../exit_codes.ts";
import { type LoadOptions, longestRampMs } from "../load/options.ts";
import { type Contender, plainToFioJson, type RunHooks, type RunResult } from "./contender.ts";
import type { NodeFsJob, NodeFsReply } from "./node_fs_worker.ts";

/** Milliseconds that a Worker gets beyond its time. */
const OVERDUE_MS = 10_000;

/**
 * `node:fs/promises` of this runtime: `iodepth` lanes in each of `numjobs` Workers, each awaiting one read. Random blocks
 * are drawn anew each time.
 */
export class NodeFs implements Contender {
  check(options: LoadOptions): void {
    if (options.readPercent === 100) return;
    throw misuse(`Cannot compare ${options.mode} with node-fs: wanted read or randread`);
  }

  version(): Promise<string> {
    return Promise.resolve(`node:fs of Deno ${Deno.version.deno}`);
  }

  async measure(options: LoadOptions, { signal }: RunHooks): Promise<RunResult | null> {
    const startedAt = new Date();
    const replies = await Promise.all(
      Array.from({ length: options.jobCount }, (_, jobIndex) => runJob(jobOf(options, jobIndex), signal)),
    );
    if (signal.aborted) return null;
    const results = replies.map((reply) => {
      if (reply.type === "failed") throw failed(`Cannot measure with node-fs: ${reply.message}`);
      return reply;
    });
    const ios = results.reduce((sum, result) => sum + result.ios, 0);
    const seconds = Math.max(...results.map((result) => result.elapsedMs)) / 1000;
    // The readings are of the whole process, so the largest is that of all Workers together.
    const percent = (pick: (result: typeof results[number]) => number) =>
      Math.max(...results.map(pick)) / (seconds * 1e4);
    return plainToFioJson({
      name: "node-fs",
      options,
      startedAt,
      ios,
      seconds,
      userPercent: percent(({ userUs }) => userUs),
      systemPercent: percent(({ systemUs }) => systemUs),
    });
  }
}

function jobOf(options: LoadOptions, jobIndex: number): NodeFsJob {
  return {
    path: options.target!,
    driver: options.driver,
    direct: options.direct,
    blockBytes: options.blockSizeBytes,
    depth: options.ioDepth,
    random: options.mode === "randread",
    offsetBytes: options.offsetBytes,
    sizeBytes: options.sizeBytes,
    sizePercent: options.sizePercent,
    seed: (options.seed + jobIndex) >>> 0,
    jobIndex,
    jobCount: options.jobCount,
    rampMs: options.rampMs,
    rampIos: options.rampIos,
    runtimeMs: options.runtimeMs,
  };
}

async function runJob(job: NodeFsJob, signal: AbortSignal): Promise<NodeFsReply> {
  const worker = new Worker(new URL("./node_fs_worker.ts", import.meta.url).href, { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<NodeFsReply>();
  const overdueMs = longestRampMs(job) + job.runtimeMs + OVERDUE_MS;
  const timer = setTimeout(() => resolve({ type: "failed", message: `no answer after ${overdueMs} ms` }), overdueMs);
  const abort = () => resolve({ type: "failed", message: "interrupted" });
  signal.addEventListener("abort", abort);
  worker.onmessage = ({ data }: MessageEvent<NodeFsReply>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new CliError(1 as ExitCode, `Cannot measure with node-fs: ${event.message}`));
  };
  worker.postMessage(job);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    worker.terminate();
  }
}
