/**
 * Reading option values one by one. Every refusal is one line that names the option, the value and what is wanted.
 *
 * @module
 */
import { parseDurationMs, parseSize } from "../../core/base/units.ts";
import { misuse } from "../failure.ts";

/** Option values as the parser hands them over: strings by camel-cased name, missing ones absent. */
export type RawOptions = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** Longest run in milliseconds: a week, well below what a timer can count (2^31 ms). */
const MAX_RUN_MS = 7 * 24 * 3_600_000;

/** `rampTime` → `--ramp-time`, for messages. */
export function optionName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** The value of an option, or null where it is not given. An empty one is refused. */
export function text(raw: RawOptions, key: string): string | null {
  const value = raw[key];
  if (typeof value !== "string") return null;
  if (value === "") throw misuse(`Cannot use ${optionName(key)} "": wanted a value`);
  return value;
}

/** Bytes, or null. */
export function size(raw: RawOptions, key: string): number | null {
  const value = text(raw, key);
  return value === null ? null : parseSize(value, optionName(key));
}

/** Milliseconds, at most {@link MAX_RUN_MS}. */
export function duration(raw: RawOptions, key: string, fallbackMs: number): number {
  const value = text(raw, key);
  if (value === null) return fallbackMs;
  const ms = parseDurationMs(value, optionName(key));
  if (ms > MAX_RUN_MS) throw misuse(`Cannot use ${optionName(key)} ${value}: wanted at most 7 days`);
  return ms;
}

/** A whole number in a range. */
export function integer(
  raw: RawOptions,
  key: string,
  fallback: number,
  range: { readonly from: number; readonly to: number },
): number {
  const value = text(raw, key);
  if (value === null) return fallback;
  const number = /^\d+$/.test(value) ? Number(value) : NaN;
  if (number >= range.from && number <= range.to) return number;
  throw misuse(`Cannot use ${optionName(key)} ${value}: wanted a whole number from ${range.from} to ${range.to}`);
}

/** Refuses 0. */
export function positive(value: number, key: string): number {
  if (value > 0) return value;
  throw misuse(`Cannot use ${optionName(key)} ${value}: wanted more than 0`);
}

/** One of the allowed words. */
export function choice<T extends string>(raw: RawOptions, key: string, allowed: readonly T[], fallback: T): T {
  const value = text(raw, key);
  if (value === null) return fallback;
  if ((allowed as readonly string[]).includes(value)) return value as T;
  throw misuse(`Cannot use ${optionName(key)} ${value}: wanted ${allowed.join(", ")}`);
}
