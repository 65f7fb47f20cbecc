/**
 * Two ways to the same kind of disk, compared by turns in one boot of the guest.
 *
 * Emulation says nothing about the speed of real drives. What it shows is work: how much code runs for each I/O.
 *
 * @module
 */

import { runGuest } from "./guest.ts";
import type { GuestJob } from "./job.ts";

/** One way to a disk. */
export interface Contender {
  /** What `openDevice` takes. */
  readonly target: string;
  readonly options?: Readonly<Record<string, unknown>>;
  /** Which lines of /proc/interrupts are its own. */
  readonly interrupts?: string;
}

/**
 * How reads are kept going: each promise is followed by the next read; or a callback submits its request again, inside
 * of `run()`; or a section announces as many as the depth, `run()` waits for all of them, and then comes the next.
 */
export type ContestStyle = "promises" | "callbacks" | "sections";

/** What is compared. */
export interface ContestPlan {
  readonly contenders: readonly Contender[];
  /** Default 1 and 32. */
  readonly depths?: readonly number[];
  /** Default `promises`. The others want contenders that wait by `block` or `poll`. */
  readonly style?: ContestStyle;
  /** Default 5. */
  readonly rounds?: number;
  /** Reads in a round, default 1000. */
  readonly reads?: number;
}

/** The figures of one contender at one depth; counters are per read. */
export interface ContestRow {
  readonly style: ContestStyle;
  readonly target: string;
  /** How the device waits. */
  readonly wait: string;
  readonly depth: number;
  /** Reads per second of each round. */
  readonly iops: readonly number[];
  readonly submits: number;
  /** Stores to doorbells, for submissions and completions, of the driver itself. */
  readonly doorbells: number;
  /** Processor time of the whole process, kernel included, in nanoseconds. */
  readonly processorNs: number;
  readonly wakeups: number;
  readonly interrupts: number;
}

/** Boots a guest, runs `prepare` (a line of shell) and then the contests in it, one after the other. */
export async function runContest(
  plans: readonly ContestPlan[],
  job: Omit<GuestJob, "command">,
  prepare = "true",
): Promise<ContestRow[]> {
  const script = `${prepare} && exec deno run -q -P --no-check --cached-only tests/guest/inside/contest.ts "$1"`;
  const result = await runGuest({ ...job, command: ["sh", "-ec", script, "sh", JSON.stringify(plans)] });
  if (result.code !== 0) throw new Error(`Cannot finish the contest: code ${result.code}\n${result.stderr}`);
  return result.stdout.trim().split("\n").map((line) => JSON.parse(line));
}

/** The middle figure of a list. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? NaN) + (sorted[sorted.length >> 1] ?? NaN)) / 2;
}
