import { isRandom, type LoadOptions } from "./options.ts";
import type { Verification } from "./read_back.ts";
import type { LoadResult } from "./result.ts";
import type { Sample } from "./sampler.ts";
import { type Distribution, LOG_KINDS } from "./workload_options.ts";

/** A value that JSON can express. */
type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** An object of such values. */
export type JsonObject = { readonly [key: string]: Json };

/** A distribution as on the command line. */
export function distributionText(distribution: Distribution): string {
  switch (distribution.kind) {
    case "random":
      return "random";
    case "zipf":
      return `zipf:${distribution.theta}`;
    case "pareto":
      return `pareto:${distribution.h}`;
  }
}

/** The options of fio's names that were given, as the texts that fio prints. */
export function workloadOptions(options: LoadOptions): JsonObject {
  const { rateIops, numberIos, percentiles, steadyState } = options;
  return {
    ...rateIops === null ? {} : { rate_iops: String(rateIops) },
    ...numberIos === null ? {} : { number_ios: String(numberIos) },
    ...isRandom(options.mode)
      ? {
        norandommap: options.randomMap ? "0" : "1",
        random_distribution: distributionText(options.distribution),
      }
      : {},
    ...percentiles === null ? {} : { percentile_list: percentiles.join(":") },
    ...options.verify ? { verify: "crc32c" } : {},
    ...steadyState === null ? {} : {
      steadystate: limitText(options),
      steadystate_duration: String(steadyState.durationMs / 1000),
      steadystate_ramp_time: String(steadyState.rampMs / 1000),
    },
    log_avg_msec: String(options.sampleMs),
    ...Object.fromEntries(
      LOG_KINDS.flatMap((kind) =>
        options.logPrefixes[kind] === null ? [] : [[`write_${kind}_log`, options.logPrefixes[kind]]]
      ),
    ),
  };
}

function limitText({ steadyState }: LoadOptions): string {
  return steadyState === null
    ? ""
    : `${steadyState.criterion}:${steadyState.limit.toFixed(6)}${steadyState.isPercent ? "%" : ""}`;
}

/** fio's `steadystate` object, which is there only where a steady state was asked for. Bandwidths in KiB a second. */
export function steadyStateFields(options: LoadOptions, { steadyState }: LoadResult): JsonObject {
  const asked = options.steadyState;
  if (asked === null || steadyState === null) return {};
  const isSlope = asked.criterion.endsWith("_slope");
  const mean = (values: readonly number[]) =>
    values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
  const bandwidths = steadyState.bytesPerSecond.map((bytes) => Math.floor(bytes / 1024));
  const iops = steadyState.iops.map(Math.round);
  return {
    steadystate: {
      ss: limitText(options),
      duration: asked.durationMs / 1000,
      attained: steadyState.attained ? 1 : 0,
      // JSON has no NaN; a window that was never full has no criterion.
      ...Number.isFinite(steadyState.criterion)
        ? { criterion: `${steadyState.criterion.toFixed(6)}${asked.isPercent ? "%" : ""}` }
        : {},
      max_deviation: isSlope ? 0 : steadyState.deviationOrSlope,
      slope: isSlope ? steadyState.deviationOrSlope : 0,
      data: { bw_mean: Math.floor(mean(bandwidths)), iops_mean: Math.round(mean(iops)), iops, bw: bandwidths },
    },
  };
}

/** How the rate was kept, where one was asked for. */
export function rateFields({ rate }: LoadResult): JsonObject {
  if (rate === null) return {};
  const { started, startedLate, neverStarted } = rate;
  return {
    rate: {
      due_ios: started + neverStarted,
      late_ios: startedLate + neverStarted,
      started_late_ios: startedLate,
      never_started_ios: neverStarted,
    },
  };
}

/** What reading back found, where writes were verified. */
export function verifyFields(found: Verification | null): JsonObject {
  if (found === null) return {};
  return {
    verify: {
      written_blocks: found.writtenBlocks,
      checked_blocks: found.checkedBlocks,
      faults: found.faultCount,
      described: found.faults.map(({ kind, offsetBytes, detail }) => ({ kind, offset: offsetBytes, detail })),
    },
  };
}

/** The samples column by column: a reader draws them without turning them around. */
export function timeSeries(samples: readonly Sample[]): JsonObject {
  const column = (pick: (sample: Sample) => number) => samples.map((sample) => Math.round(pick(sample)));
  return {
    end_ms: column((sample) => sample.endMs),
    read_iops: column((sample) => sample.readIops),
    write_iops: column((sample) => sample.writeIops),
    read_bw_bytes: column((sample) => sample.readBytesPerSecond),
    write_bw_bytes: column((sample) => sample.writeBytesPerSecond),
    read_lat_ns_mean: column((sample) => sample.readMeanNs),
    write_lat_ns_mean: column((sample) => sample.writeMeanNs),
  };
}
