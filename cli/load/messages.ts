import type { JobResult } from "./meter.ts";
import type { JobPlan } from "./plan.ts";

/** What the main thread tells a Worker. */
export type ToWorker =
  | { readonly type: "prepare"; readonly plan: JobPlan; readonly shared: SharedArrayBuffer }
  | { readonly type: "start" };

/** What a Worker tells the main thread. */
export type FromWorker =
  | { readonly type: "ready"; readonly notes: readonly string[] }
  /** The last one: what is known of the job, unless it failed before it began, and what went wrong. */
  | { readonly type: "ended"; readonly result: JobResult | null; readonly failure: PostedFailure | null };

/** An error on its way between threads: classes do not survive posting. */
export interface PostedFailure {
  /** The lines to print and the exit code, worded where the error was caught. */
  readonly lines: readonly string[];
  readonly exitCode: number;
}
