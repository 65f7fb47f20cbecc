import { formatCount } from "../../core/base/units.ts";
import type { LiveView } from "./sampler.ts";
import { isMixed, type LoadOptions } from "./options.ts";
import { formatRate } from "./text.ts";

/** The live line of a run: how far it is and how fast it goes. */
export function progressText(options: LoadOptions, view: LiveView, elapsedMs: number): string {
  if (view.inVerify) return `${options.mode}: reading back what was written`;
  const totalMs = options.startDelayMs + options.rampMs + options.runtimeMs;
  const percent = Math.min(100, Math.floor((100 * elapsedMs) / totalMs));
  const leftSeconds = Math.max(0, Math.ceil((totalMs - elapsedMs) / 1000));
  const iops = view.readIops + view.writeIops;
  const rates = [`${formatCount(iops)} IOPS`, formatRate(iops * options.blockSizeBytes)];
  if (isMixed(options.mode)) {
    rates.push(`${formatCount(view.readIops)} reads, ${formatCount(view.writeIops)} writes`);
  }
  if (view.errors > 0) rates.push(`${view.errors} errors`);
  const name = view.inRamp ? `${options.mode} (ramp)` : options.mode;
  const left = `${percent} %, ${leftSeconds} s left`;
  return `${name}: ${rates.join(", ")}, ${left}`;
}
