import { formatSize } from "../../core/base/units.ts";
import { errnoName } from "../../mod.ts";
import { counted } from "../words.ts";
import { type LoadOptions, writes } from "./options.ts";
import type { LoadResult } from "./result.ts";
import type { TargetSurvey } from "./target.ts";

/** A mean depth below this share of the wanted one is worth a warning. */
const DEPTH_SHARE_WANTED = 0.9;

/**
 * The same where completions are delivered in parts, each submitted before the next (docs/lifetime.md, "The completion budget"):
 * while a whole batch is worked off in four, the depth after the submits is 1/4, 2/4, 3/4 and 4/4 of it.
 */
const SHARED_DEPTH_SHARE_WANTED = 0.6;

/** In flight per queue from which on deliveries are shared, as `core/queue/completion_budget.ts` has it. */
const SHARED_FROM = 8;

/** A rate below this share of the wanted one is worth a warning. */
const RATE_SHARE_WANTED = 0.95;

/** A share of due I/Os that never started above this is worth a warning, also where the mean rate was reached. */
const NEVER_STARTED_SHARE = 0.01;

/** What makes the figures of a run mean something else than they seem to, most serious first. */
export function collectWarnings(options: LoadOptions, survey: TargetSurvey, result: LoadResult): string[] {
  return [
    ...runWarnings(result),
    ...targetWarnings(options, survey),
    ...workloadWarnings(options, survey, result),
    ...depthWarnings(options, survey, result),
    ...result.notes,
  ];
}

/** What is known before the run. */
export function targetWarnings(options: LoadOptions, survey: TargetSurvey): string[] {
  const warnings: string[] = [];
  const { sizeBytes, target } = survey.facts;
  if (survey.emptyBytes > 0 && !writes(options.mode)) {
    warnings.push(
      `${target} has ${
        formatSize(survey.emptyBytes)
      } of holes and unwritten parts: reads of these do not touch the disk`,
    );
  }
  if (readsThroughCache(options, survey)) {
    const memory = survey.memoryBytes;
    warnings.push(
      memory > 0 && sizeBytes < memory
        ? `Buffered reads of ${formatSize(sizeBytes)}, less than the memory of ${
          formatSize(memory)
        }: this measures the page cache, add --direct to measure the disk`
        : "Buffered reads may come from the page cache: add --direct to measure the disk",
    );
  }
  if (options.direct && sizeBytes < SMALL_TARGET_BYTES) {
    warnings.push(`${target} has only ${formatSize(sizeBytes)}: the cache inside the device may hold all of it`);
  }
  return warnings;
}

function readsThroughCache(options: LoadOptions, survey: TargetSurvey): boolean {
  return !options.direct && !writes(options.mode) && hasPageCache(survey);
}

/** Only files and block devices of this machine are cached by it. */
function hasPageCache({ kind }: TargetSurvey): boolean {
  return kind === "file" || kind === "block device";
}

/** Targets below this fit into the DRAM of many disks. */
const SMALL_TARGET_BYTES = 256 * 1024 ** 2;

function runWarnings(result: LoadResult): string[] {
  const warnings: string[] = [];
  if (result.stuckJobs.length > 0) {
    warnings.push(
      `I/O of job ${result.stuckJobs.join(", ")} did not come back: its figures lack latencies and what was in flight`,
    );
  }
  if (result.lostJobs.length > 0) {
    warnings.push(
      `Job ${result.lostJobs.join(", ")} ended early: its figures lack latencies and what was in flight`,
    );
  }
  if (result.errorCount > 0) {
    const names = [...result.errors].map(([errno, count]) => `${count} × ${errnoName(errno)}`).join(", ");
    warnings.push(`${counted(result.errorCount, "I/O")} failed, in no other figure: ${names}`);
  }
  const shortIos = result.read.shortIos + result.write.shortIos;
  if (shortIos > 0) warnings.push(`${counted(shortIos, "I/O")} ended short: the target ended before the range did`);
  return warnings;
}

function workloadWarnings(
  options: LoadOptions,
  survey: TargetSurvey,
  { read, write, verification, steadyState, ...result }: LoadResult,
): string[] {
  const warnings: string[] = [];
  if (verification !== null && verification.checkedBlocks < verification.writtenBlocks) {
    warnings.push(
      `Only ${verification.checkedBlocks} of ${verification.writtenBlocks} written blocks were read back before the end`,
    );
  }
  if (verification !== null && !options.direct && hasPageCache(survey)) {
    warnings.push("Written blocks were read back through the page cache: add --direct to read them from the disk");
  }
  if (result.rampIosMissing > 0) {
    warnings.push(
      `The ramp ended by its time with ${options.rampIos * options.jobCount - result.rampIosMissing} of ` +
        `${options.rampIos * options.jobCount} I/Os: the code may have been compiled while it was measured`,
    );
  }
  warnings.push(...rateWarnings(options, result, read.iops + write.iops));
  if (steadyState !== null && !steadyState.attained) {
    warnings.push("The steady state was not attained before the end of the run");
  }
  return warnings;
}

/** What a rate that was not reached does to the latencies: I/Os that started late are in them, others are not. */
function rateWarnings(options: LoadOptions, { rate, partial }: Pick<LoadResult, "rate" | "partial">, iops: number) {
  if (rate === null) return [];
  const { started, startedLate, neverStarted } = rate;
  const due = started + neverStarted;
  const wantedIops = options.rateIops! * options.jobCount;
  const isSlow = !partial && iops < wantedIops * RATE_SHARE_WANTED;
  if (!isSlow && neverStarted <= due * NEVER_STARTED_SHARE) return [];
  const effects = [
    ...startedLate > 0 ? [`latencies contain the time that ${counted(startedLate, "I/O")} waited for a start`] : [],
    ...neverStarted > 0 ? [`${neverStarted} of ${counted(due, "I/O")} that were due never started, in no latency`] : [],
  ];
  const consequences = effects.length > 0 ? `: ${effects.join("; ")}` : "";
  return [`Only ${Math.round(iops)} of ${wantedIops} I/Os a second were reached${consequences}`];
}

function depthWarnings(options: LoadOptions, survey: TargetSurvey, result: LoadResult): string[] {
  const achieved = result.achievedDepth;
  // Who asks for a rate gets as much depth as that takes.
  if (options.rateIops !== null) return [];
  const wanted = options.ioDepth >= SHARED_FROM && options.batch !== "none"
    ? SHARED_DEPTH_SHARE_WANTED
    : DEPTH_SHARE_WANTED;
  if (result.stats.submits === 0 || achieved >= options.ioDepth * wanted) return [];
  return [`Achieved depth ${achieved.toFixed(1)} of ${options.ioDepth}: ${depthReason(options, survey)}`];
}

function depthReason(options: LoadOptions, survey: TargetSurvey): string {
  if (readsThroughCache(options, survey)) return "reads from the page cache complete while they are submitted";
  if (options.batch === "none") {
    return "each request is submitted alone, and early ones complete before the last is sent";
  }
  return "after a submit, in the mean, the others had completed already and were not yet sent again";
}
