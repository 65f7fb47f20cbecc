/** Letters of a name that may be wrong, as one in so many. */
const LETTERS_PER_MISTAKE = 3;

/** Longest name that is compared: the comparison takes the square of it. */
const MAX_COMPARED_LETTERS = 64;

/**
 * The one of `names` that a caller who wrote `name` may have meant, or null: the same but for case, dashes and
 * underscores, else the one with the fewest letters to change.
 */
export function nearestName(name: string, names: readonly string[]): string | null {
  if (name.length > MAX_COMPARED_LETTERS) return null;
  const wrong = folded(name);
  let nearest: string | null = null;
  let fewest = Infinity;
  for (const each of names) {
    const right = folded(each);
    const mistakes = distance(wrong, right);
    if (mistakes >= fewest || mistakes * LETTERS_PER_MISTAKE > Math.max(wrong.length, right.length)) continue;
    nearest = each;
    fewest = mistakes;
  }
  return nearest;
}

function folded(name: string): string {
  return name.toLowerCase().replace(/[-_ ]/g, "");
}

/** Letters to add, drop, replace or swap with their neighbour, to make `b` of `a` (Damerau and Levenshtein). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const next = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let least = Math.min(last[column]! + 1, next[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1));
      if (a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        least = Math.min(least, before[column - 2]! + 1);
      }
      next.push(least);
    }
    before = last;
    last = next;
  }
  return last[b.length]!;
}
