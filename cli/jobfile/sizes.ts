/** Sizes as fio reads them: with `kb_base=1024`, its default, `4k` is 4096 bytes and `4KiB` is 4000. */

/** What one unit is worth, by its letter: the power. */
const POWER: Readonly<Record<string, number>> = { k: 1, m: 2, g: 3, t: 4, p: 5 };

/** A size whose unit is not what its reader expects. */
interface UnusualSize {
  /** The bytes, for the checks of the command line. */
  readonly value: string;
  /** What to tell the user. */
  readonly note: string;
}

/**
 * The bytes of a size that fio's `kb_base` gives another meaning than the command line has, or null where both agree.
 * `kbBase` is 1024, where `KiB` counts in thousands, or 1000, where `k` and `kb` do. Source: fio's HOWTO, `kb_base`.
 */
export function unusualSize(written: string, kbBase: number): UnusualSize | null {
  const [, digits, letter, rest] = /^(\d+(?:\.\d+)?)([kmgtp])(ib|b?)$/i.exec(written) ?? [];
  if (digits === undefined) return null;
  const isIec = rest!.toLowerCase() === "ib";
  if (isIec === (kbBase === 1000)) return null;
  const bytes = Math.round(Number(digits) * 1000 ** POWER[letter!.toLowerCase()]!);
  return { value: String(bytes), note: `${written} is ${bytes} bytes, as in fio with kb_base=${kbBase}` };
}
