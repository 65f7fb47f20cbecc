import { subscribe } from "node:diagnostics_channel";
import { TRACE_PREFIX, traceEvents } from "../../mod.ts";
import { writeNotice } from "../terminal.ts";

/** Prints every trace event of this Worker to standard error, one line each, from now on. */
export function printTrace(jobIndex: number): void {
  for (const event of traceEvents()) {
    const name = event.slice(TRACE_PREFIX.length);
    subscribe(event, (message) => writeNotice(traceLine(jobIndex, name, message)));
  }
}

/** One event as text: the job, the name, and the fields that are plain values; of a request what tells it apart. */
export function traceLine(jobIndex: number, name: string, message: unknown): string {
  const fields = Object.entries(message as Record<string, unknown>).flatMap(([key, value]) => {
    if (key === "request") {
      const { op, offset, length } = value as { op: number; offset: number; length: number };
      return [`op=${op}`, `offset=${offset}`, `length=${length}`];
    }
    return [`${key}=${value}`];
  });
  return [`job${jobIndex}`, name, ...fields].join(" ");
}
