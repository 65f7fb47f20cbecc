import { AtomicFile } from "../output_file.ts";
import type { Sample } from "./sampler.ts";
import { LOG_KINDS, type LogKind } from "./workload_options.ts";

/** fio's number for the direction of a line. */
const READ = 0;
const WRITE = 1;

/** What a log says of an interval: fio's unit for each kind. */
const VALUES: Readonly<Record<LogKind, (sample: Sample) => readonly [read: number, write: number]>> = {
  iops: (sample) => [sample.readIops, sample.writeIops],
  // KiB a second.
  bw: (sample) => [sample.readBytesPerSecond / 1024, sample.writeBytesPerSecond / 1024],
  // Nanoseconds.
  lat: (sample) => [sample.readMeanNs, sample.writeMeanNs],
};

/**
 * The time series as fio writes them with `log_avg_msec` and `per_job_logs=0`: `PREFIX_iops.log` with lines of time in
 * milliseconds, value, direction, and two zeroes in the places of block size and offset. A direction without I/O in an
 * interval has no line.
 */
export function logLines(kind: LogKind, samples: readonly Sample[]): string {
  const lines = samples.flatMap((sample) => {
    const [read, write] = VALUES[kind](sample);
    const line = (value: number, direction: number) =>
      `${Math.round(sample.endMs)}, ${Math.round(value)}, ${direction}, 0, 0`;
    return [
      ...sample.readIops > 0 ? [line(read, READ)] : [],
      ...sample.writeIops > 0 ? [line(write, WRITE)] : [],
    ];
  });
  return lines.map((line) => line + "\n").join("");
}

/** The files of the time series that were asked for. Construction proves that they can be written. */
export class TimeSeriesLogs implements Disposable {
  readonly #files: readonly (readonly [kind: LogKind, file: AtomicFile])[];

  /** Opens a file for each kind with a prefix. Throws CliError when one cannot be written. */
  constructor(prefixes: Readonly<Record<LogKind, string | null>>) {
    using opened = new DisposableStack();
    const wanted = LOG_KINDS.filter((kind) => prefixes[kind] !== null);
    this.#files = wanted.map((kind) => [kind, opened.use(new AtomicFile(`${prefixes[kind]}_${kind}.log`))] as const);
    opened.move();
  }

  /** Writes all files. */
  commit(samples: readonly Sample[]): void {
    for (const [kind, file] of this.#files) file.commit(logLines(kind, samples));
  }

  /** Removes what was not written. */
  [Symbol.dispose](): void {
    for (const [, file] of this.#files) file[Symbol.dispose]();
  }
}
