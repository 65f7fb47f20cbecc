import { DRIVER_NAMES } from "../../mod.ts";
import { driverPrefix, takesOnlyPaths } from "../driver.ts";
import { attempt, CliError, misuse, throwAll } from "../failure.ts";
import {
  isMixed,
  LOAD_MODES,
  type LoadMode,
  type LoadOptions,
  MAX_JOBS,
  parseLoadOptions,
  writes,
} from "../load/options.ts";
import type { RawOptions } from "../load/raw_options.ts";
import { evaluate } from "./expand.ts";
import type { JobFileOption, JobFileSection } from "./parse.ts";
import { unusualSize } from "./sizes.ts";

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
  io_limit: "io_size",
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
  "io_size",
  "loops",
  "startdelay",
  "rwmixread",
  "rwmixwrite",
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

/** Those of them that are sizes, which fio's `kb_base` gives a meaning. */
const SIZES: readonly string[] = ["bs", "size", "io_size", "offset"];

/** Options that are on when they stand alone. */
const SWITCHES: readonly string[] = ["direct", "norandommap"];

/**
 * Options that change nothing here: jobs are threads, their figures are always added up, buffers are never refilled
 * from a generator that costs time, and how fio counts, locks memory or reads its clock is its own affair.
 */
const CHANGE_NOTHING: readonly string[] = [
  "clocksource",
  "create_serialize",
  "description",
  "disk_util",
  "group_reporting",
  "lockmem",
  "mem",
  "thread",
  "unit_base",
];

/** One job of a file, checked. */
export interface FileJob {
  readonly name: string;
  /** Jobs of one group run together; a `stonewall` begins the next. */
  readonly group: number;
  readonly options: LoadOptions;
  /** Values that fio reads in another way than the command line does, a line each. */
  readonly notes: readonly string[];
  /** What a dry run says besides: options that change nothing here, and what is not as with fio. */
  readonly remarks: readonly string[];
}

/** Turns the sections of a job file into loads. Throws CliErrors that name the lines of all that cannot be done. */
export function jobsOf(sections: readonly JobFileSection[], path: string, allowDestructive: boolean): FileJob[] {
  if (sections.length > MAX_FILE_JOBS) {
    throw misuse(`Cannot run ${path}: it has ${sections.length} jobs, wanted at most ${MAX_FILE_JOBS}`);
  }
  let group = 0;
  const errors: unknown[] = [];
  const jobs: FileJob[] = [];
  for (const [index, section] of sections.entries()) {
    const reader = new SectionReader(section);
    if (!attempt(errors, () => reader.refuseUnknown())) continue;
    attempt(errors, () => {
      if (reader.isOn("stonewall") && index > 0) group++;
      jobs.push({ name: reader.name, group, ...reader.read(allowDestructive) });
    });
  }
  throwAll(errors);
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
  readonly #options = new Map<string, JobFileOption>();
  readonly #notes: string[] = [];

  constructor(section: JobFileSection) {
    this.#section = section;
    for (const option of section.options) this.#options.set(ALIASES[option.name] ?? option.name, option);
  }

  /** The heading, or what `name` says. */
  get name(): string {
    return this.#value("name") ?? this.#section.name;
  }

  /** Throws for every option that there is no meaning for. */
  refuseUnknown(): void {
    const known = [...PASSED_ON, ...SWITCHES, ...CHANGE_NOTHING, ...OTHERS];
    throwAll(
      [...this.#options].filter(([name]) => !known.includes(name))
        .map(([, option]) => this.#wrong(option, "plugio does not support it, wanted the line removed")),
    );
  }

  /** Whether a switch is on: it stands alone, or is 1. */
  isOn(name: string): boolean {
    const option = this.#options.get(name);
    if (option === undefined) return false;
    if (option.value === null || option.value === "1") return true;
    if (option.value === "0") return false;
    throw this.#wrong(option, "wanted 0, 1");
  }

  /** The load that the section describes, and what is to be said of it. */
  read(allowDestructive: boolean): Pick<FileJob, "options" | "notes" | "remarks"> {
    const options = this.#load(allowDestructive);
    return { options, notes: this.#notes, remarks: this.#remarks(options) };
  }

  #load(allowDestructive: boolean): LoadOptions {
    const mode = this.#mode();
    const raw: Record<string, string | boolean | undefined> = {
      driver: this.#driver(),
      allowDestructive,
      // fio's default, which is not that of the command line.
      iodepth: "1",
      // fio's default: jobs that take the prefix from [global] would else overwrite each other's logs.
      perJobLogs: "1",
    };
    for (const name of PASSED_ON) {
      const option = this.#options.get(name);
      if (option === undefined) continue;
      if (option.value === null) throw this.#wrong(option, `wanted ${name}=VALUE`);
      raw[camelCase(name)] = SIZES.includes(name) ? this.#size(option) : this.#evaluated(option);
    }
    if (this.#options.has("buffered")) raw["direct"] = this.isOn("buffered") ? "0" : "1";
    for (const name of SWITCHES) if (this.#options.has(name)) raw[camelCase(name)] = this.isOn(name) ? "1" : "0";
    const seed = this.#value("randseed");
    if (seed !== null) raw["seed"] = seed;
    this.#setEnd(raw);
    this.#refuseForMode(mode);
    const target = this.#target(mode);
    // What the command line refuses, it names by its own options; the place is added.
    return this.#placed(() => parseLoadOptions(mode, target, raw as RawOptions));
  }

  /** The number behind a sum, or the value itself. */
  #evaluated(option: JobFileOption): string {
    return evaluate(option.value!, this.#named(option));
  }

  /** A size as the command line reads it. */
  #size(option: JobFileOption): string {
    const unusual = unusualSize(option.value!, this.#kbBase());
    if (unusual === null) return this.#evaluated(option);
    this.#note(`${option.name}=${unusual.note}`, option);
    return unusual.value;
  }

  #kbBase(): number {
    const option = this.#options.get("kb_base");
    const base = Number(option?.value ?? "1024");
    if (base === 1000 || base === 1024) return base;
    throw this.#wrong(option!, "wanted 1000, 1024");
  }

  /** What a dry run says besides. fio drops the pages of a file before a job, unless `invalidate=0` lets them stay. */
  #remarks({ direct, driver }: LoadOptions): string[] {
    const asked = this.#options.has("invalidate") && !this.isOn("invalidate");
    const unused = CHANGE_NOTHING.filter((name) => this.#options.has(name));
    return [
      ...unused.length > 0 ? [`unchanged by ${unused.join(", ")}`] : [],
      ...asked || direct || !takesOnlyPaths(driver) ? [] : ["cached pages stay, which fio drops without invalidate=0"],
    ];
  }

  #note(text: string, option: JobFileOption): void {
    this.#notes.push(`Note: ${text} (${option.place})`);
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
    onlyFor("rwmixread", isMixed(mode), "randrw or rw=rw");
    onlyFor("rwmixwrite", isMixed(mode), "randrw or rw=rw");
    onlyFor("verify", mode === "write" || mode === "randwrite", "write or rw=randwrite");
    onlyFor("norandommap", random, "randread, randwrite or randrw");
    onlyFor("random_distribution", random, "randread, randwrite or randrw");
    // There fio holds each direction to the rate.
    onlyFor("rate_iops", !isMixed(mode), "randread, randwrite, read or write");
  }

  #mode(): LoadMode {
    const option = this.#options.get("rw");
    const wanted = option?.value === "readwrite" ? "rw" : option?.value ?? "read";
    const mode = LOAD_MODES.find((name) => name === wanted);
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
        `Cannot run job ${this.name} of ${this.#section.place}: it overwrites data, wanted filename=PATH`,
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

  #wrong(option: JobFileOption, wanted: string): CliError {
    return misuse(`Cannot use ${this.#named(option)}: ${wanted}`);
  }

  /** An option as refusals name it. */
  #named({ name, value, place }: JobFileOption): string {
    return `${value === null ? name : `${name}=${value}`} of ${place}`;
  }

  #placed<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof CliError) && !(error instanceof RangeError)) throw error;
      throw misuse(`${error.message} (job ${this.name} of ${this.#section.place})`);
    }
  }
}

/** Options that this file reads itself. */
const OTHERS: readonly string[] = [
  "buffered",
  "filename",
  "invalidate",
  "ioengine",
  "kb_base",
  "name",
  "randseed",
  "rw",
  "stonewall",
  "time_based",
];

/** Seven days, as the command line's own limit: the number of I/Os ends such a job. */
const LONGEST_RUNTIME = "168h";

/** `ramp_time` → `rampTime`. */
function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
