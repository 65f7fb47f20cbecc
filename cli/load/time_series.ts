import { attempt } from "../failure.ts";
import { AtomicFile } from "../output_file.ts";
import type { ProtectedFiles } from "../protected_files.ts";
import type { LoadOptions } from "./options.ts";
import type { LoadResult } from "./result.ts";
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
 * A time series as fio writes it with `log_avg_msec`: lines of time in
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

/** Files of time series, by path: loads whose logs have the same name share one. */
export class LogFiles implements Disposable {
  readonly #guard: ProtectedFiles | undefined;
  readonly #files = new Map<string, { readonly file: AtomicFile; text: string | null }>();

  /** Makes no file yet; none will be one that `guard` protects. */
  constructor(guard?: ProtectedFiles) {
    this.#guard = guard;
  }

  /** Proves that a file can be written. Throws CliError when it cannot. */
  open(path: string): void {
    if (!this.#files.has(path)) this.#files.set(path, { file: new AtomicFile(path, this.#guard), text: null });
  }

  /** Adds lines to a file that was opened. */
  append(path: string, lines: string): void {
    const entry = this.#files.get(path)!;
    entry.text = (entry.text ?? "") + lines;
  }

  /** Writes all files that something was added to; returns what went wrong with single ones. */
  commit(): unknown[] {
    const errors: unknown[] = [];
    for (const { file, text } of this.#files.values()) {
      if (text !== null) attempt(errors, () => file.commit(text));
    }
    this.#files.clear();
    return errors;
  }

  /** Removes what was not written. */
  [Symbol.dispose](): void {
    for (const { file } of this.#files.values()) file[Symbol.dispose]();
  }
}

/** The time series of one load, for the files that were asked for. Construction proves that they can be written. */
export class TimeSeriesLogs implements Disposable {
  readonly #files: LogFiles;
  readonly #wanted: readonly (readonly [kind: LogKind, prefix: string])[];
  readonly #numbers: readonly number[] | null;

  /**
   * Opens a file for each kind with a prefix: one of all Workers, or one for each of their `numbers`. Throws CliError
   * when one cannot be written.
   */
  constructor(
    prefixes: Readonly<Record<LogKind, string | null>>,
    numbers: readonly number[] | null = null,
    files: LogFiles = new LogFiles(),
  ) {
    using opened = new DisposableStack();
    this.#files = opened.use(files);
    this.#numbers = numbers;
    this.#wanted = LOG_KINDS.flatMap((kind) => prefixes[kind] === null ? [] : [[kind, prefixes[kind]] as const]);
    for (const [kind, prefix] of this.#wanted) {
      for (const number of numbers ?? [null]) files.open(logPath(prefix, kind, number));
    }
    opened.move();
  }

  /** Hands the series of a result over to the files. */
  add({ samples, jobSamples }: Pick<LoadResult, "samples" | "jobSamples">): void {
    for (const [kind, prefix] of this.#wanted) {
      if (this.#numbers === null) this.#files.append(logPath(prefix, kind, null), logLines(kind, samples));
      for (const [index, number] of (this.#numbers ?? []).entries()) {
        this.#files.append(logPath(prefix, kind, number), logLines(kind, jobSamples[index] ?? []));
      }
    }
  }

  /** Removes what was not written. */
  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}

/** fio's names: with the job's number, from 1, where each job has a log of its own. */
function logPath(prefix: string, kind: LogKind, number: number | null): string {
  return number === null ? `${prefix}_${kind}.log` : `${prefix}_${kind}.${number}.log`;
}

/** The numbers that a load's Workers have in the names of their logs, or null for one log of all. */
export function logNumbers({ perJobLogs, jobCount }: LoadOptions, first: number): number[] | null {
  return perJobLogs ? Array.from({ length: jobCount }, (_, index) => first + index) : null;
}

/** Whether each Worker has to be sampled by itself. */
export function wantsJobSamples({ perJobLogs, logPrefixes }: LoadOptions): boolean {
  return perJobLogs === true && LOG_KINDS.some((kind) => logPrefixes[kind] !== null);
}
