import { formatSize } from "../../core/base/units.ts";
import type { DeviceBatchMode, NbdSettings, WaitMode } from "../../mod.ts";
import { CliError, failed, misuse } from "../failure.ts";
import { ExitCode } from "../exit_codes.ts";
import type { Api, LoadOptions } from "./options.ts";
import { isRandom, writes } from "./options.ts";
import type { Distribution } from "./workload_options.ts";

/** What opening the target told. */
export interface TargetFacts {
  /** The path or address that was opened. */
  readonly target: string;
  readonly sizeBytes: number;
  /** Alignment in bytes that offset and length of each I/O must keep. */
  readonly offsetAlignBytes: number;
  /** Requests that the driver keeps in flight at most. */
  readonly maxInflight: number;
  /** Only one Worker at a time can open the target. */
  readonly oneOwner: boolean;
}

/** The range of a run in whole blocks: no I/O begins before or ends after it. */
export interface BlockRange {
  readonly startBytes: number;
  readonly blockBytes: number;
  readonly blockCount: number;
}

/** Everything that one Worker needs to run its job. Plain data, so that it can be posted. */
export interface JobPlan {
  readonly jobIndex: number;
  readonly target: string;
  readonly driver: string;
  readonly direct: boolean;
  readonly readOnly: boolean;
  readonly batch: DeviceBatchMode;
  readonly wait: WaitMode;
  readonly keepTick: boolean | null;
  readonly api: Api;
  readonly ioDepth: number;
  readonly batchCompleteMin: number;
  readonly range: BlockRange;
  readonly random: boolean;
  /** Block at which a sequential job begins. */
  readonly firstBlock: number;
  readonly seed: number;
  readonly distribution: Distribution;
  /** Where the popular blocks of a distribution are: the same in all jobs, which share them. */
  readonly placeSeed: number;
  readonly randomMap: boolean;
  readonly readPercent: number;
  /** I/Os to start a second, or null for as many as go. */
  readonly rateIops: number | null;
  /** I/Os after which the job ends, or null. */
  readonly numberIos: number | null;
  /** What tells the job's writes from all others, or null where writes are not verified. */
  readonly verifyRunId: number | null;
  readonly rampMs: number;
  readonly rampIos: number;
  readonly runtimeMs: number;
  /** Milliseconds that the job waits before it starts. */
  readonly startDelayMs: number;
  readonly blkio: Readonly<Record<string, string>>;
  readonly nbd: NbdSettings;
  readonly trace: boolean;
}

/** Fits the range of the command line into the target. Throws CliError where it does not fit. */
export function planRange(options: LoadOptions, facts: TargetFacts): BlockRange {
  const { blockSizeBytes, offsetBytes } = options;
  const { sizeBytes, target } = facts;
  if (sizeBytes === 0) {
    throw failed(
      `Cannot use target ${target}: it is empty, wanted at least one block of ${formatSize(blockSizeBytes)}`,
    );
  }
  refuseUnaligned("--bs", blockSizeBytes, facts);
  refuseUnaligned("--offset", offsetBytes, facts);
  if (blockSizeBytes > sizeBytes) {
    throw misuse(
      `Cannot use --bs ${blockSizeBytes}: ${target} has ${sizeBytes} bytes, wanted a block no longer than that`,
    );
  }
  if (offsetBytes + blockSizeBytes > sizeBytes) {
    throw misuse(
      `Cannot use --offset ${offsetBytes}: ${target} has ${sizeBytes} bytes, wanted at most ${
        sizeBytes - blockSizeBytes
      }`,
    );
  }
  const available = sizeBytes - offsetBytes;
  const rangeBytes = options.sizeBytes ?? shareOf(sizeBytes, available, options.sizePercent);
  if (rangeBytes > available) {
    throw misuse(
      `Cannot use --size ${rangeBytes} at --offset ${offsetBytes}: ${target} has ${sizeBytes} bytes, ` +
        `wanted at most ${available}`,
    );
  }
  if (rangeBytes < blockSizeBytes) {
    const asked = options.sizePercent === null ? rangeBytes : `${options.sizePercent}%`;
    throw misuse(`Cannot use --size ${asked}: wanted at least one block of ${blockSizeBytes}`);
  }
  // A tail shorter than a block is left out.
  return {
    startBytes: offsetBytes,
    blockBytes: blockSizeBytes,
    blockCount: Math.floor(rangeBytes / blockSizeBytes),
  };
}

/** Percent of the target, as far as there is so much behind the offset. */
export function shareOf(sizeBytes: number, available: number, percent: number | null): number {
  return percent === null ? available : Math.min(available, Math.floor((sizeBytes * percent) / 100));
}

/** The plan of each Worker: its own seed, and for sequential modes its own place to begin. */
export function planJobs(options: LoadOptions, facts: TargetFacts): JobPlan[] {
  const range = planRange(options, facts);
  if (options.ioDepth > facts.maxInflight) {
    throw new CliError(
      ExitCode.misuse,
      `Cannot use --iodepth ${options.ioDepth}: driver ${options.driver} keeps at most ${facts.maxInflight} in flight`,
    );
  }
  if (options.jobCount > 1 && facts.oneOwner) {
    throw misuse(
      `Cannot use --numjobs ${options.jobCount} on ${facts.target}: it takes one owner at a time, wanted 1`,
    );
  }
  const runId = crypto.getRandomValues(new Uint32Array(1))[0]!;
  return Array.from({ length: options.jobCount }, (_, jobIndex) => ({
    jobIndex,
    target: facts.target,
    driver: options.driver,
    direct: options.direct,
    readOnly: !writes(options.mode),
    batch: options.batch,
    wait: options.wait,
    keepTick: options.keepTick,
    api: options.api,
    ioDepth: options.ioDepth,
    batchCompleteMin: options.batchCompleteMin,
    range: options.verify ? sliceForJob(range, jobIndex, options) : range,
    random: isRandom(options.mode),
    // Jobs that all began at the first block would serve each other from the page cache and write the same block.
    firstBlock: options.verify ? 0 : Math.floor((range.blockCount * jobIndex) / options.jobCount),
    seed: (options.seed + jobIndex) >>> 0,
    distribution: options.distribution,
    placeSeed: ~options.seed >>> 0,
    randomMap: options.randomMap,
    readPercent: options.readPercent,
    rateIops: options.rateIops,
    numberIos: options.timeBased ? options.numberIos : iosOf(options, range.blockCount),
    startDelayMs: options.startDelayMs,
    verifyRunId: options.verify ? (runId + jobIndex) >>> 0 : null,
    rampMs: options.rampMs,
    rampIos: options.rampIos,
    runtimeMs: options.runtimeMs,
    blkio: options.blkio,
    nbd: options.nbd,
    trace: options.trace,
  }));
}

/** I/Os after which a job ends that its bytes end: fio's `io_size` or its range, `loops` times. */
function iosOf({ numberIos, ioBytes, loops, blockSizeBytes }: LoadOptions, blockCount: number): number {
  const ios = (ioBytes === null ? blockCount : Math.ceil(ioBytes / blockSizeBytes)) * loops;
  return Math.min(numberIos ?? Infinity, ios);
}

/** Blocks that one verified job remembers at most: five bytes each. */
const MAX_VERIFIED_BLOCKS = 2 ** 27;

/** A verified job has blocks to itself: it could not tell what others wrote. */
function sliceForJob(range: BlockRange, jobIndex: number, { jobCount, ioDepth }: LoadOptions): BlockRange {
  const edge = (index: number) => Math.floor((range.blockCount * index) / jobCount);
  const blockCount = edge(jobIndex + 1) - edge(jobIndex);
  if (blockCount < ioDepth) {
    throw misuse(
      `Cannot use --verify with ${blockCount} blocks for job ${jobIndex} and --iodepth ${ioDepth}: ` +
        `wanted at least as many blocks as I/Os in flight`,
    );
  }
  if (blockCount > MAX_VERIFIED_BLOCKS) {
    throw misuse(
      `Cannot use --verify with ${blockCount} blocks for job ${jobIndex}: wanted at most ${MAX_VERIFIED_BLOCKS}, ` +
        `by --size or --bs`,
    );
  }
  return { ...range, startBytes: range.startBytes + edge(jobIndex) * range.blockBytes, blockCount };
}

function refuseUnaligned(option: string, value: number, facts: TargetFacts): void {
  if (value % facts.offsetAlignBytes === 0) return;
  throw misuse(`Cannot use ${option} ${value} on ${facts.target}: wanted a multiple of ${facts.offsetAlignBytes}`);
}
