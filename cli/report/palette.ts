import type { Series } from "./dataset.ts";

/** One colour, for light and dark paper. */
interface Colour {
  readonly light: string;
  readonly dark: string;
}

/**
 * Colours of series, after Okabe and Ito's set for all kinds of colour vision, darkened or lightened until text in them
 * can be read. Each goes with a shape of its own, so colour is never the only difference.
 */
const COLOURS: Readonly<Record<string, Colour>> = {
  blue: { light: "#0067a5", dark: "#62bdf7" },
  vermilion: { light: "#c24e00", dark: "#ff9152" },
  green: { light: "#00795a", dark: "#3ccba0" },
  amber: { light: "#946200", dark: "#f0b93a" },
  purple: { light: "#a0447c", dark: "#e79fca" },
  grey: { light: "#5c6670", dark: "#a9b3bd" },
};

/** Colours of the paper itself. */
const SURFACE: Readonly<Record<string, Colour>> = {
  paper: { light: "#ffffff", dark: "#14181d" },
  panel: { light: "#f6f8fa", dark: "#1b2129" },
  ink: { light: "#16202a", dark: "#e8edf2" },
  muted: { light: "#52606d", dark: "#a3b0bc" },
  grid: { light: "#e1e6eb", dark: "#2f3843" },
};

/** What a mode always looks like, so that two reports read alike. */
const MODE_COLOURS: Readonly<Record<string, string>> = {
  none: "vermilion",
  device: "amber",
  plug: "blue",
  dispatch: "green",
  auto: "purple",
};

/** For values that are no modes, in their order. */
const FALLBACKS: readonly string[] = ["blue", "vermilion", "green", "amber", "purple"];

const SHAPES: readonly string[] = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"];

/** How a series is drawn. */
export interface Look {
  readonly colour: string;
  readonly shape: string;
  /** Dashes of its line; `[]` for a solid one. */
  readonly dash: readonly number[];
}

/** A colour as the graphs name it: the page's variable, and what a bare SVG falls back to. */
export function cssColour(name: string): string {
  return `var(--${name}, ${(COLOURS[name] ?? SURFACE[name]!).light})`;
}

/** The look of each series of a panel, by label. */
export function looksOf(series: readonly Series[]): ReadonlyMap<string, Look> {
  let others = 0;
  const own = series.filter(({ subject }) => subject === "plugio");
  return new Map(series.map(({ label, subject }, at): [string, Look] => {
    const shape = SHAPES[at % SHAPES.length]!;
    if (subject !== "plugio" && own.length > 0) {
      const nth = series.filter((other) => other.subject !== "plugio").findIndex((other) => other.label === label);
      return [label, { colour: cssColour("grey"), shape, dash: [[6, 3], [2, 2], [8, 2, 2, 2]][nth % 3]! }];
    }
    const colour = MODE_COLOURS[label] ?? FALLBACKS[others++ % FALLBACKS.length]!;
    return [label, { colour: cssColour(colour), shape, dash: [] }];
  }));
}

/** The variables of all colours as CSS, for light paper and, where the reader prefers it, dark paper; print is light. */
export function colourCss(): string {
  const all = Object.entries({ ...COLOURS, ...SURFACE });
  const variables = (paper: keyof Colour) => all.map(([name, colour]) => `--${name}: ${colour[paper]};`).join(" ");
  return `:root { color-scheme: light dark; ${variables("light")} }\n` +
    `@media screen and (prefers-color-scheme: dark) { :root { ${variables("dark")} } }`;
}
