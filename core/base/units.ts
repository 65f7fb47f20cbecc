import { shown } from "./shown.ts";

const SIZE_SUFFIX: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1024,
  kb: 1024,
  ki: 1024,
  kib: 1024,
  m: 1024 ** 2,
  mb: 1024 ** 2,
  mi: 1024 ** 2,
  mib: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1024 ** 3,
  gi: 1024 ** 3,
  gib: 1024 ** 3,
  t: 1024 ** 4,
  tb: 1024 ** 4,
  ti: 1024 ** 4,
  tib: 1024 ** 4,
};

/**
 * Bytes for `4k`, `1g`, `512`: fio's suffixes, powers of 1024, upper or lower case.
 *
 * Throws a RangeError that names `what` when the text is not a size or not a whole number of bytes.
 */
export function parseSize(text: string, what: string): number {
  if (typeof text !== "string") throw new TypeError(`Cannot read ${what} ${shown(text)}: wanted a string`);
  const match = /^(\d+(?:\.\d+)?)([a-z]*)$/i.exec(text.trim());
  const scale = match === null ? undefined : SIZE_SUFFIX[match[2]!.toLowerCase()];
  if (match === null || scale === undefined) {
    throw new RangeError(`Cannot read ${what} ${shown(text)}: wanted bytes with an optional suffix k, m, g or t`);
  }
  const bytes = Number(match[1]) * scale;
  if (!Number.isSafeInteger(bytes)) {
    throw new RangeError(`Cannot use ${what} ${shown(text)}: wanted whole bytes below 2^53`);
  }
  return bytes;
}

const TIME_SUFFIX_MS: Readonly<Record<string, number>> = {
  "": 1000,
  s: 1000,
  ms: 1,
  us: 0.001,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds for `10`, `10s`, `500ms`, `2m`: fio's times, seconds when there is no suffix. Throws a RangeError. */
export function parseDurationMs(text: string, what: string): number {
  if (typeof text !== "string") throw new TypeError(`Cannot read ${what} ${shown(text)}: wanted a string`);
  const match = /^(\d+(?:\.\d+)?)([a-z]*)$/i.exec(text.trim());
  const scale = match === null ? undefined : TIME_SUFFIX_MS[match[2]!.toLowerCase()];
  if (match === null || scale === undefined) {
    throw new RangeError(`Cannot read ${what} ${shown(text)}: wanted seconds, or a number with ms, s, m or h`);
  }
  return Number(match[1]) * scale;
}

/** `"4KiB"`, `"1GiB"`, `"512B"`: exact where the size is a whole multiple, else two decimals. */
export function formatSize(bytes: number): string {
  checkFormatted(bytes);
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(2)}${units[unit]}`;
}

/** From here on three digits round up to a thousand, which is one of the next unit. */
const ROUNDS_UP_AT = 999.5;

/** `"1.23k"`, `"2.05M"`: a count with a decimal suffix and three digits, as fio prints IOPS. */
export function formatCount(count: number): string {
  checkFormatted(count);
  if (count < ROUNDS_UP_AT) return count.toFixed(count < 10 && !Number.isInteger(count) ? 2 : 0);
  const units = ["", "k", "M", "G"];
  let value = count;
  let unit = 0;
  while (value >= ROUNDS_UP_AT && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toPrecision(3)}${units[unit]}`;
}

/** `"850 ns"`, `"12.3 µs"`, `"4.56 ms"`, `"1.20 s"`. */
export function formatNanoseconds(ns: number): string {
  checkFormatted(ns);
  if (ns < ROUNDS_UP_AT) return `${ns.toFixed(0)} ns`;
  if (ns < ROUNDS_UP_AT * 1e3) return `${(ns / 1e3).toPrecision(3)} µs`;
  if (ns < ROUNDS_UP_AT * 1e6) return `${(ns / 1e6).toPrecision(3)} ms`;
  return `${(ns / 1e9).toFixed(2)} s`;
}

function checkFormatted(value: unknown): void {
  if (typeof value !== "number") throw new TypeError(`Cannot format ${shown(value)}: wanted a number`);
}
