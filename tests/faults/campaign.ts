/**
 * The campaign: which faults there are to try, what came of each, and the sum of it.
 *
 * @module
 */
import { errnoName } from "../../core/base/errno.ts";
import { Random } from "../../core/base/random.ts";
import type { Fault } from "./controls.ts";
import { FORWARDED } from "./forwarder.ts";
import type { Answer } from "./player.ts";

/** ENOMEM, EAGAIN, EINTR, EIO, EMFILE, EPERM, ENOSYS. */
export const ERRNOS: readonly number[] = [12, 11, 4, 5, 24, 1, 38];

/** Plays one fault. */
export type Play = (fault: Fault | null) => Promise<Answer>;

/** After this call of libblkio memory stays mapped on purpose: it cannot be told whether the kernel still writes there. */
const KEEPING = "blkioq_do_io";

/** The page that a wake-up by socketpair leaves where it is still armed at the end of its ring, and its mapping. */
const KEPT_PAGE: Readonly<Record<string, number>> = { "mapped bytes": 4096, "mappings": 1 };

/** True when nothing but such memory is left. */
function isKept({ symbol }: Fault, leaks: readonly string[], { keepsPage = false }: Selection): boolean {
  if (leaks.length === 0) return false;
  if (symbol === KEEPING) return leaks.every((line) => /^mapp(ed bytes|ings): /.test(line));
  return keepsPage && leaks.every((line) => {
    const [, name = "", before, after] = /^(.*): (\d+) before, (\d+) after$/.exec(line) ?? [];
    return Number(after) - Number(before) === KEPT_PAGE[name];
  });
}

/** What is tried. */
export interface Selection {
  /** Functions by their names in C; default all that are called. */
  readonly symbols?: readonly string[];
  /** Errnos; default {@link ERRNOS}. */
  readonly errnos?: readonly number[];
  /** So many faults, drawn with `seed`; default every one. */
  readonly sample?: { readonly count: number; readonly seed: number };
  /** The configuration may keep the page of a wake-up by socketpair. */
  readonly keepsPage?: boolean;
  /** Stops after so many milliseconds. */
  readonly budgetMs?: number;
}

/** One fault that ended otherwise than it may. */
export interface Bad {
  readonly fault: Fault;
  readonly what: "wrong" | "leak" | "hang" | "crash";
  readonly text: string;
}

/** The sum of one configuration. */
export interface Tally {
  /** Calls that the scene makes without a fault. */
  calls: number;
  /** Faults that were tried. */
  tried: number;
  /** Those whose call came. */
  injected: number;
  /** Those after which everything had its right result. */
  absorbed: number;
  /** Those after which something was refused with a clear error. */
  errors: number;
  /** Those after which memory stays mapped on purpose. */
  kept: number;
  /** What must not be. */
  readonly bad: Bad[];
}

/** Every fault that a scene with these calls can have. */
export function faultsOf(calls: Record<string, number>, { symbols, errnos = ERRNOS }: Selection): Fault[] {
  const faults: Fault[] = [];
  for (const { name, failing } of FORWARDED) {
    if (failing === "never" || symbols?.includes(name) === false) continue;
    for (let call = 1; call <= (calls[name] ?? 0); call++) {
      for (const errno of errnos) faults.push({ symbol: name, from: call, to: call, errno });
    }
  }
  return faults;
}

/** `count` of `faults`: each function has its share, and within it everything is as likely. */
export function sampleOf(faults: readonly Fault[], { count, seed }: NonNullable<Selection["sample"]>): Fault[] {
  const random = new Random(seed);
  const left = new Map<string, Fault[]>();
  for (const fault of faults) {
    const own = left.get(fault.symbol);
    if (own === undefined) left.set(fault.symbol, [fault]);
    else own.push(fault);
  }
  const chosen: Fault[] = [];
  while (chosen.length < count && left.size > 0) {
    const symbols = [...left.keys()];
    const symbol = symbols[random.below(symbols.length)]!;
    const own = left.get(symbol)!;
    chosen.push(own.splice(random.below(own.length), 1)[0]!);
    if (own.length === 0) left.delete(symbol);
  }
  return chosen;
}

/** A fault in words, as the command line takes it. */
export function faultText({ symbol, from, errno }: Fault): string {
  return `${symbol} call ${from} ${errnoName(errno)}`;
}

/** Runs a configuration; `onBad` hears of each finding at once. */
export async function runCampaign(play: Play, selection: Selection, onBad: (bad: Bad) => void): Promise<Tally> {
  const endMs = performance.now() + (selection.budgetMs ?? Infinity);
  const clean = await play(null);
  if (!("verdict" in clean)) throw new Error(`Cannot play the scene without a fault: ${clean.text}`);
  const { calls = {}, wrong, leaks } = clean.verdict;
  if (wrong.length + leaks.length > 0) throw new Error(`Without a fault: ${[...wrong, ...leaks].join("; ")}`);
  const all = faultsOf(calls, selection);
  const chosen = selection.sample === undefined ? all : sampleOf(all, selection.sample);
  const total = Object.values(calls).reduce((sum, count) => sum + count, 0);
  const tally: Tally = { calls: total, tried: 0, injected: 0, absorbed: 0, errors: 0, kept: 0, bad: [] };
  for (const fault of chosen) {
    if (performance.now() > endMs) break;
    for (const bad of count(tally, fault, await play(fault), selection)) {
      tally.bad.push(bad);
      onBad(bad);
    }
  }
  return tally;
}

/** Adds an answer to the sum; returns what must not be. */
function count(tally: Tally, fault: Fault, answer: Answer, selection: Selection): Bad[] {
  tally.tried++;
  if ("ended" in answer) {
    tally.injected++;
    return [{ fault, what: answer.ended, text: answer.text }];
  }
  const { hits, errors, wrong, leaks } = answer.verdict;
  if (hits > 0) tally.injected++;
  const bad: Bad[] = [];
  if (wrong.length > 0) bad.push({ fault, what: "wrong", text: wrong.join("; ") });
  if (isKept(fault, leaks, selection)) tally.kept++;
  else if (leaks.length > 0) bad.push({ fault, what: "leak", text: leaks.join("; ") });
  if (bad.length > 0 || hits === 0) return bad;
  if (errors.length > 0) tally.errors++;
  else tally.absorbed++;
  return bad;
}

/** The sums as a table in Markdown. */
export function tallyTable(rows: readonly (readonly [string, Tally])[]): string {
  const titles = [
    "configuration",
    "calls",
    "faults",
    "absorbed",
    "errors",
    "kept",
    "wrong",
    "leaks",
    "hangs",
    "crashes",
  ];
  const number = (tally: Tally, what: Bad["what"]) => tally.bad.filter((each) => each.what === what).length;
  const lines = rows.map(([name, tally]) => [
    name,
    tally.calls,
    tally.injected,
    tally.absorbed,
    tally.errors,
    tally.kept,
    number(tally, "wrong"),
    number(tally, "leak"),
    number(tally, "hang"),
    number(tally, "crash"),
  ]);
  const row = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
  return [row(titles), row(titles.map((_, index) => index === 0 ? "---" : "---:")), ...lines.map(row)].join("\n");
}
