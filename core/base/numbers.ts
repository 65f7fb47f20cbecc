import { shown } from "./shown.ts";

/** The error of a number: of its type, or of its value. */
export function wrongNumber(value: unknown, message: string): Error {
  return typeof value === "number" ? new RangeError(message) : new TypeError(message);
}

/** Throws a TypeError for what should be a number and is none; `action` begins the message. */
export function checkNumber(value: unknown, action: string, wanted: string): asserts value is number {
  if (typeof value !== "number") throw new TypeError(`Cannot ${action} ${shown(value)}: wanted ${wanted}`);
}
