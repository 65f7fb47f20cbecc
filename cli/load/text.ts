import { styleText } from "node:util";
import { formatCount, formatNanoseconds, formatSize } from "../../core/base/units.ts";
import { errnoName } from "../../mod.ts";
import type { RunContext } from "./context.ts";
import type { LatencySummary } from "./latency.ts";
import { isMixed, isRandom, type LoadOptions } from "./options.ts";
import type { RateSummary } from "./rate.ts";
import type { Verification } from "./read_back.ts";
import type { DirectionSummary, LoadResult } from "./result.ts";
import type { SteadyStateResult } from "./steady_state.ts";
import { counted } from "../words.ts";
import { distributionText } from "./workload_json.ts";

/** The percentiles that people read, in percent. */
const SHOWN_PERCENTILES: readonly number[] = [50, 90, 95, 99, 99.9, 99.99];

/** Width of the labels on the left. */
const LABEL_WIDTH = 10;

type Style = "bold" | "dim" | "yellow" | "red" | "green";

/** Everything that the report for people is made of. */
interface ReportParts {
  readonly options: LoadOptions;
  readonly result: LoadResult;
  readonly context: RunContext;
  readonly warnings: readonly string[];
  /** Whether to use colours. */
  readonly styled: boolean;
}

/** The report for people: figures first, then counters, context and warnings. Ends with a line end. */
export function toText(parts: ReportParts): string {
  const { options, result, context, warnings, styled } = parts;
  const paint = (style: Style, text: string) => styled ? styleText(style, text, { validateStream: false }) : text;
  const row = (label: string, text: string) => `  ${paint("dim", label.padEnd(LABEL_WIDTH))}${text}`;
  const shown = options.percentiles ?? SHOWN_PERCENTILES;
  const blocks = [
    [paint("bold", `${options.mode} ${context.target}`), `  ${configuration(options)}`],
    ...result.partial ? [[paint("yellow", `Partial result: the run ended after ${seconds(result.windowMs)}`)]] : [],
    ...directions(result).map((direction) => directionRows(direction, result.windowMs, shown, row, paint)),
    counterRows(options, result, row, paint),
    ["Context", ...Object.entries(context.lines).map(([name, value]) => row(name, value))],
    ...warnings.length === 0 ? [] : [warnings.map((warning) => paint("yellow", `Warning: ${warning}`))],
  ];
  return blocks.map((lines) => lines.join("\n")).join("\n\n") + "\n";
}

function directions(result: LoadResult): [string, DirectionSummary][] {
  const all: [string, DirectionSummary][] = [["read", result.read], ["write", result.write]];
  const used = all.filter(([, summary]) => summary.ios > 0);
  return used.length === 0 ? [["no I/O completed", result.read]] : used;
}

function configuration(options: LoadOptions): string {
  return [
    options.driver,
    `bs ${formatSize(options.blockSizeBytes)}`,
    `depth ${options.ioDepth}`,
    counted(options.jobCount, "job"),
    options.direct ? "direct" : "buffered",
    `batch ${options.batch}`,
    `wait ${options.wait}`,
    ...options.keepTick === null ? [] : [`keep-tick ${options.keepTick ? 1 : 0}`],
    `${options.api} API`,
    ...isMixed(options.mode) ? [`${options.readPercent} % reads`] : [],
    ...options.distribution.kind === "random" ? [] : [distributionText(options.distribution)],
    ...isRandom(options.mode) && options.distribution.kind === "random" && !options.randomMap ? ["norandommap"] : [],
    ...options.rateIops === null ? [] : [`rate ${options.rateIops} IOPS a job`],
  ].join(", ");
}

type Row = (label: string, text: string) => string;
type Paint = (style: Style, text: string) => string;

function directionRows(
  [name, summary]: readonly [string, DirectionSummary],
  windowMs: number,
  shown: readonly number[],
  row: Row,
  paint: Paint,
): string[] {
  const rate = `${formatCount(summary.iops)} IOPS`;
  const bandwidth = `${formatRate(summary.bytesPerSecond)}`;
  const amount = `${summary.ios.toLocaleString("en-US")} I/Os, ${formatSize(summary.bytes)} in ${seconds(windowMs)}`;
  return [
    `${name}: ${paint("green", paint("bold", rate))}, ${bandwidth}`,
    row("amount", amount),
    ...latencyRows(summary.latency, shown, row),
  ];
}

function latencyRows(latency: LatencySummary, shown: readonly number[], row: Row): string[] {
  if (latency.total === 0) return [];
  const spread = `mean ${formatNanoseconds(latency.meanNs)}, min ${formatNanoseconds(latency.minNs)}, ` +
    `max ${formatNanoseconds(latency.maxNs)}, stddev ${formatNanoseconds(latency.stddevNs)}`;
  const percentiles = shown
    .map((percent) => `p${percent} ${formatNanoseconds(latency.percentiles.get(percent)!)}`)
    .join(", ");
  return [row("latency", spread), row("", percentiles)];
}

function counterRows(options: LoadOptions, result: LoadResult, row: Row, paint: Paint): string[] {
  const { cpu, stats } = result;
  const lines = [
    row("depth", `${result.achievedDepth.toFixed(1)} of ${options.ioDepth} achieved (mean after each submit)`),
    row(
      "batching",
      `${figure(result.submitsPerIo)} submits per I/O, ${figure(result.entriesPerSubmit)} SQEs per submit, ` +
        `${figure(result.ffiCallsPerIo)} native calls per I/O`,
    ),
    row("CPU", `${figure(cpu.userUsPerIo)} µs user, ${figure(cpu.systemUsPerIo)} µs system per I/O (whole process)`),
    ...rateRows(result.rate, row),
    row("errors", errorText(result, paint)),
    ...verifyRows(result.verification, row, paint),
    ...steadyStateRows(result.steadyState, row),
  ];
  if (stats.retries > 0) lines.push(row("retries", String(stats.retries)));
  if (result.workers.length > 1) {
    for (const worker of result.workers) {
      const latency = formatNanoseconds(worker.meanLatencyNs);
      lines.push(row(`job ${worker.jobIndex}`, `${formatCount(worker.iops)} IOPS, mean latency ${latency}`));
    }
  }
  return lines;
}

function rateRows(rate: RateSummary | null, row: Row): string[] {
  if (rate === null) return [];
  const { started, startedLate, neverStarted } = rate;
  const [due, late] = [started + neverStarted, startedLate + neverStarted].map((count) =>
    count.toLocaleString("en-US")
  );
  const parts = late === "0" ? "" : ` (${startedLate} started late, ${neverStarted} never started)`;
  return [row("rate", `${due} I/Os were due, ${late} late${parts}`)];
}

function verifyRows(found: Verification | null, row: Row, paint: Paint): string[] {
  if (found === null) return [];
  const share = `${found.checkedBlocks.toLocaleString("en-US")} of ${
    found.writtenBlocks.toLocaleString("en-US")
  } written blocks read back`;
  if (found.faultCount === 0) return [row("verify", `${share}, all as written`)];
  return [
    row("verify", paint("red", `${share}, ${found.faultCount} not as written`)),
    ...found.faults.map(({ offsetBytes, detail }) => row("", `offset ${offsetBytes}: ${detail}`)),
  ];
}

function steadyStateRows(state: SteadyStateResult | null, row: Row): string[] {
  if (state === null) return [];
  const last = Number.isFinite(state.criterion)
    ? `criterion ${figure(Math.abs(state.criterion))} at the end`
    : "no full window";
  return [row("steady", `${state.attained ? "attained" : "not attained"}, ${last}`)];
}

function errorText(result: LoadResult, paint: Paint): string {
  if (result.errorCount === 0) return "none";
  return paint("red", [...result.errors].map(([errno, count]) => `${errnoName(errno)} ${count}`).join(", "));
}

/** Three digits, or fewer where the figure is whole. */
function figure(value: number): string {
  return value === 0 ? "0" : value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** `"7.02GiB/s"`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatSize(Math.round(bytesPerSecond))}/s`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
