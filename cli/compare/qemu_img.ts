import { pathOfTarget } from "../../drivers/probe.ts";
import { failed, misuse } from "../failure.ts";
import type { LoadOptions } from "../load/options.ts";
import { type Contender, plainToFioJson, type RunHooks, runProgram, type RunResult } from "./contender.ts";

/** QEMU's name of the asynchronous interface for each driver that has an equal one. */
const AIO_MODES: Readonly<Record<string, string>> = { io_uring: "io_uring", linux_aio: "native" };

/** Requests of the run that finds out how many fit into the wanted time. */
const CALIBRATION_REQUESTS = 5_000;

/** Most requests that `-c` takes: an int. */
const MAX_REQUESTS = 2 ** 31 - 1;

/**
 * `qemu-img bench`: block after block at a depth, one job, for a number of requests. It knows neither time nor ramp, so
 * a short run tells how many requests fill the wanted time. It reports the elapsed time only.
 */
export class QemuImg implements Contender {
  /** Requests a second by configuration, from the calibration or the run before. */
  readonly #rates = new Map<string, number>();

  check(options: LoadOptions): void {
    const refuse = (what: string, wanted: string) => misuse(`Cannot compare ${what} with qemu-img: wanted ${wanted}`);
    if (options.mode !== "read" && options.mode !== "write") {
      throw refuse(options.mode, "read or write, because qemu-img bench goes through an image block after block");
    }
    if (AIO_MODES[options.driver] === undefined) {
      throw refuse(`driver ${options.driver}`, Object.keys(AIO_MODES).join(" or "));
    }
    if (options.driver === "linux_aio" && !options.direct) {
      throw refuse("buffered linux_aio", "--direct, as QEMU does for aio=native");
    }
    if (options.jobCount !== 1) throw refuse(`--numjobs ${options.jobCount}`, "1, because it has one thread");
    if (options.sizeBytes !== null || options.offsetBytes !== 0) {
      throw refuse("--size or --offset", "the whole target, because it wraps around at its end");
    }
  }

  async version(): Promise<string> {
    const { stdout } = await runProgram("qemu-img", ["--version"], "qemu-utils");
    return stdout.split("\n")[0]!.trim();
  }

  async measure(options: LoadOptions, { signal }: RunHooks): Promise<RunResult | null> {
    const key = [options.driver, options.blockSizeBytes, options.ioDepth].join();
    let rate = this.#rates.get(key);
    if (rate === undefined) {
      const seconds = await bench(options, CALIBRATION_REQUESTS, signal);
      if (seconds === null) return null;
      rate = CALIBRATION_REQUESTS / Math.max(seconds, 1e-3);
    }
    const count = Math.min(MAX_REQUESTS, Math.max(1, Math.round((rate * options.runtimeMs) / 1000)));
    const startedAt = new Date();
    const seconds = await bench(options, count, signal);
    if (seconds === null) return null;
    this.#rates.set(key, count / seconds);
    const ios = count;
    return plainToFioJson({
      name: "qemu-img",
      options,
      startedAt,
      ios,
      seconds,
      userPercent: null,
      systemPercent: null,
    });
  }
}

/** The command line of qemu-img for `count` requests of a load. */
export function qemuImgArguments(options: LoadOptions, count: number): string[] {
  return [
    "bench",
    ...["-f", "raw"],
    ...["-c", String(count)],
    ...["-d", String(options.ioDepth)],
    ...["-s", String(options.blockSizeBytes)],
    ...["-t", options.direct ? "none" : "writeback"],
    ...["-i", AIO_MODES[options.driver]!],
    ...options.mode === "write" ? ["-w"] : [],
    pathOfTarget(options.target!),
  ];
}

/** Seconds that `count` requests took; null when ended early. */
async function bench(options: LoadOptions, count: number, signal: AbortSignal): Promise<number | null> {
  const { ok, stdout, reason } = await runProgram("qemu-img", qemuImgArguments(options, count), "qemu-utils", signal);
  if (signal.aborted) return null;
  const seconds = /Run completed in ([\d.]+) seconds/.exec(stdout)?.[1];
  if (!ok || seconds === undefined) throw failed(`Cannot measure with qemu-img: ${reason || stdout.trim()}`);
  return Number(seconds);
}
