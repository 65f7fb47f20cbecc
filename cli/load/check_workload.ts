import { misuse } from "../failure.ts";
import { VERIFY_BLOCK_STEP_BYTES, type WorkloadOptions } from "./workload_options.ts";

/** What combines with the options of a workload. */
interface CheckedOptions extends WorkloadOptions {
  readonly api: string;
  readonly wait: string;
  readonly blockSizeBytes: number;
  readonly rampIos: number;
  readonly rampMs: number;
  readonly runtimeMs: number;
}

/** Refuses combinations that do not go together. */
export function checkWorkload(options: CheckedOptions): void {
  const { rateIops, numberIos } = options;
  const ramp = options.rampIos > 0 ? "--ramp-ios" : options.rampMs > 0 ? "--ramp-time" : null;
  if (rateIops !== null && options.api !== "callback") {
    throw misuse(`Cannot use --rate-iops with --api ${options.api}: it keeps time by itself, wanted callback`);
  }
  if (rateIops !== null && options.wait !== "block") {
    throw misuse(`Cannot use --rate-iops with --wait ${options.wait}: it keeps time by itself, wanted block`);
  }
  if (numberIos !== null && ramp !== null) {
    throw misuse(`Cannot use --number-ios with ${ramp}: the ramp would use them up, wanted one of the two`);
  }
  if (!options.timeBased && ramp !== null) {
    throw misuse(`Cannot use ${ramp} without time_based: the ramp would use up the I/Os of the size, wanted both`);
  }
  if (options.verify && ramp !== null) {
    throw misuse(`Cannot use --verify with ${ramp}: every write is read back, wanted one of the two`);
  }
  // fio stamps each I/O; a header needs room, and a device writes whole sectors only.
  if (options.verify && options.blockSizeBytes % VERIFY_BLOCK_STEP_BYTES !== 0) {
    throw misuse(
      `Cannot use --verify with --bs ${options.blockSizeBytes}: wanted a multiple of ${VERIFY_BLOCK_STEP_BYTES}`,
    );
  }
  checkSteadyState(options);
}

function checkSteadyState({ steadyState, rampMs, runtimeMs }: CheckedOptions): void {
  if (steadyState === null) return;
  const leftMs = rampMs + runtimeMs - Math.max(rampMs, steadyState.rampMs);
  if (steadyState.durationMs <= leftMs) return;
  throw misuse(
    `Cannot use --steadystate-duration ${steadyState.durationMs / 1000}: the run has only ${leftMs / 1000} s for it, ` +
      `wanted a longer --runtime`,
  );
}
