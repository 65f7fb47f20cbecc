import { DRIVER_NAMES } from "../../mod.ts";
import { driverPrefix, takesOnlyPaths } from "../driver.ts";
import { CliError, misuse } from "../failure.ts";
import { LOAD_MODES, type LoadMode, type LoadOptions, MAX_JOBS, parseLoadOptions, writes } from "../load/options.ts";
import type { RawOptions } from "../load/raw_options.ts";
import type { JobFileOption, JobFileSection } from "./parse.ts";

/** Most jobs of a file; all of a group run at once. */
const MAX_FILE_JOBS = 64;

/** The driver behind each of fio's I/O engines, whether or not this version has it. */
const ENGINE_DRIVERS: Readonly<Record<string, string>> = {
  io_uring: "io_uring",
  libaio: "linux_aio",
  libblkio: "blkio",
};

/** fio's shorter and older names. */
const ALIASES: Readonly<Record<string, string>> = {
  blocksize: "bs",
  readwrite: "rw",
  timeout: "runtime",
  ss: "steadystate",
  ss_dur: "steadystate_duration",
  ss_ramp: "steadystate_ramp_time",
  wait_for_previous: "stonewall",
};

/** Options that go to the command line's own checks as they are, by fio's name. */
const PASSED_ON: readonly string[] = [
  "bs",
  "iodepth",
  "numjobs",
  "runtime",
  "ramp_time",
  "size",
  "offset",
  "iodepth_batch_complete_min",
  "rwmixread",
  "number_ios",
  "rate_iops",
  "random_distribution",
  "percentile_list",
  "verify",
  "steadystate",
  "steadystate_duration",
  "steadystate_ramp_time",
  "log_avg_msec",
  "write_iops_log",
  "write_bw_log",
  "write_lat_log",
  "per_job_logs",
];

/** Options that are on when they stand alone. */
const SWITCHES: readonly string[] = ["direct", "norandommap"];

/** Options that change nothing here: jobs are threads, and their figures are always added up. */
const ACCEPTED: readonly string[] = ["group_reporting", "thread", "description", "name"];

/** One job of a file, checked. */
export interface FileJob {
  readonly name: string;
  /** Jobs of one group run together; a `stonewall` begins the next. */
  readonly group: number;
  readonly options: LoadOptions;
}

/** Turns the sections of a job file into loads. Throws CliError that names the line of what cannot be done. */
export function jobsOf(sections: readonly JobFileSection[], path: string, allowDestructive: boolean): FileJob[] {
  if (sections.length > MAX_FILE_JOBS) {
    throw misuse(`Cannot run ${path}: it has ${sections.length} jobs, wanted at most ${MAX_FILE_JOBS}`);
  }
  let group = 0;
  const jobs = sections.map((section, index) => {
    const reader = new SectionReader(section, path);
    if (reader.isOn("stonewall") && index > 0) group++;
    return { name: section.name, group, options: reader.load(allowDestructive) };
  });
  for (const job of jobs) refuseCrowd(jobs.filter((other) => other.group === job.group), path);
  return jobs;
}

function refuseCrowd(group: readonly FileJob[], path: string): void {
  const count = group.reduce((sum, { options }) => sum + options.jobCount, 0);
  if (count > MAX_JOBS) throw misuse(`Cannot run ${path}: ${count} Workers at once, wanted at most ${MAX_JOBS}`);
}

/** Reads the options of one section; later ones win, as in fio. */
class SectionReader {
  readonly #section: JobFileSection;
  readonly #path: string;
  readonly #options = new Map<string, JobFileOption>();

  constructor(section: JobFileSection, path: string) {
    this.#section = section;
    this.#path = path;
    for (const option of section.options) {
      const name = ALIASES[option.name] ?? option.name;
      this.#refuseUnknown(name, option);
      this.#options.set(name, option);
    }
  }

  /** Whether a switch is on: it stands alone, or is 1. */
  isOn(name: string): boolean {
    const option = this.#options.get(name);
    if (option === undefined) return false;
    if (option.value === null || option.value === "1") return true;
    if (option.value === "0") return false;
    throw this.#wrong(option, "wanted 0, 1");
  }

  /** The load that the section describes. */
  load(allowDestructive: boolean): LoadOptions {
    const mode = this.#mode();
    const raw: Record<string, string | boolean | undefined> = {
      driver: this.#driver(),
      allowDestructive,
      // fio's default: jobs that take the prefix from [global] would else overwrite each other's logs.
      perJobLogs: "1",
    };
    for (const name of PASSED_ON) {
      const option = this.#options.get(name);
      if (option === undefined) continue;
      if (option.value === null) throw this.#wrong(option, `wanted ${name}=VALUE`);
      raw[camelCase(name)] = option.value;
    }
    for (const name of SWITCHES) if (this.#options.has(name)) raw[camelCase(name)] = this.isOn(name) ? "1" : "0";
    const seed = this.#value("randseed");
    if (seed !== null) raw["seed"] = seed;
    this.#setEnd(raw);
    this.#refuseForMode(mode);
    const target = this.#target(mode);
    // What the command line refuses, it names by its own options; the place is added.
    return this.#placed(() => parseLoadOptions(mode, target, raw as RawOptions));
  }

  /** fio stops after `size` bytes, by default all of the target, unless `time_based` says to go on. */
  #setEnd(raw: Record<string, string | boolean | undefined>): void {
    const timed = this.isOn("time_based");
    if (timed && raw["runtime"] === undefined) {
      throw this.#wrong(this.#options.get("time_based")!, "wanted runtime=TIME as well");
    }
    if (timed) return;
    raw["timeBased"] = "0";
    raw["runtime"] ??= LONGEST_RUNTIME;
  }

  #refuseForMode(mode: LoadMode): void {
    const onlyFor = (name: string, fits: boolean, wanted: string) => {
      const option = this.#options.get(name);
      if (option !== undefined && !fits) throw this.#wrong(option, `wanted rw=${wanted} with it`);
    };
    const random = mode.startsWith("rand");
    onlyFor("rwmixread", mode === "randrw", "randrw");
    onlyFor("verify", mode === "write" || mode === "randwrite", "write or rw=randwrite");
    onlyFor("norandommap", random, "randread, randwrite or randrw");
    onlyFor("random_distribution", random, "randread, randwrite or randrw");
    // There fio holds each direction to the rate.
    onlyFor("rate_iops", mode !== "randrw", "randread, randwrite, read or write");
  }

  #mode(): LoadMode {
    const option = this.#options.get("rw");
    const mode = LOAD_MODES.find((name) => name === (option?.value ?? "read"));
    if (mode !== undefined) return mode;
    throw this.#wrong(option!, `wanted ${LOAD_MODES.join(", ")}`);
  }

  /** The driver of `ioengine`, or undefined: then the target's prefix may name one. */
  #driver(): string | undefined {
    const option = this.#options.get("ioengine");
    if (option === undefined) return undefined;
    const driver = ENGINE_DRIVERS[option.value ?? ""];
    if (driver !== undefined && DRIVER_NAMES.includes(driver)) return driver;
    const known = Object.keys(ENGINE_DRIVERS).filter((engine) => DRIVER_NAMES.includes(ENGINE_DRIVERS[engine]!));
    const reason = driver === undefined ? "there is no driver for it" : `this version has no driver ${driver}`;
    throw this.#wrong(option, `${reason}, wanted ${known.join(", ")}`);
  }

  #target(mode: LoadMode): string | undefined {
    const option = this.#options.get("filename");
    if (option === undefined) {
      if (!writes(mode)) return undefined;
      throw misuse(
        `Cannot run job ${this.#section.name} of ${this.#path}:${this.#section.line}: it overwrites data, wanted filename=PATH`,
      );
    }
    // fio takes several files with colons between them; here they stand behind a driver's name and in its addresses.
    const value = option.value ?? "";
    const prefix = driverPrefix(value);
    const path = prefix === undefined ? value : value.slice(prefix.length + 1);
    if (value === "" || (takesOnlyPaths(prefix ?? null) && path.includes(":"))) {
      throw this.#wrong(option, "wanted one path");
    }
    return value;
  }

  #value(name: string): string | null {
    return this.#options.get(name)?.value ?? null;
  }

  #refuseUnknown(name: string, option: JobFileOption): void {
    const known = [...PASSED_ON, ...SWITCHES, ...ACCEPTED, ...OTHERS].includes(name);
    if (!known) throw this.#wrong(option, "plugio does not support it, wanted the line removed");
    if (option.value?.includes("${")) throw this.#wrong(option, "variables are not replaced, wanted the value itself");
  }

  #wrong(option: JobFileOption, wanted: string): CliError {
    const text = option.value === null ? option.name : `${option.name}=${option.value}`;
    return misuse(`Cannot use ${text} of ${this.#path}:${option.line}: ${wanted}`);
  }

  #placed<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof CliError) && !(error instanceof RangeError)) throw error;
      throw misuse(`${error.message} (job ${this.#section.name} of ${this.#path}:${this.#section.line})`);
    }
  }
}

/** Options that this file reads itself. */
const OTHERS: readonly string[] = ["rw", "ioengine", "filename", "randseed", "time_based", "stonewall"];

/** Seven days, as the command line's own limit: the number of I/Os ends such a job. */
const LONGEST_RUNTIME = "168h";

/** `ramp_time` → `rampTime`. */
function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
