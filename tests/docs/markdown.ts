/**
 * What the tests of the documentation need to know of Markdown: links, headings, code blocks, tables.
 *
 * @module
 */

/** A fenced code block. */
export interface CodeBlock {
  /** Words after the fence: `["ts", "ignore", "run"]`. */
  readonly info: readonly string[];
  readonly code: string;
  /** Line of the opening fence, from 1. */
  readonly line: number;
}

/** The fenced blocks of a page; the fences may be indented, as in a list. */
export function codeBlocks(text: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { info: string[]; indent: number; lines: string[]; line: number } | null = null;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^( *)```(.*)$/.exec(line);
    if (open === null && fence !== null) {
      open = { info: fence[2]!.split(/\s+/), indent: fence[1]!.length, lines: [], line: index + 1 };
    } else if (open !== null && fence !== null) {
      blocks.push({ info: open.info, code: open.lines.join("\n") + "\n", line: open.line });
      open = null;
    } else {
      open?.lines.push(line.slice(open.indent));
    }
  }
  return blocks;
}

/** The page without its fenced blocks: links and headings in code are neither. */
export function withoutCode(text: string): string {
  return text.replace(/^( *)```.*\n[^]*?^ *```$/gm, "");
}

/** Targets of `[text](target)`, in order. */
export function links(text: string): string[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
}

/** The anchors of a page's headings, by GitHub's rule. */
export function anchors(text: string): string[] {
  return [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-")
  );
}

/** The text below the heading, up to the next one that is not below it. */
export function section(text: string, heading: string): string {
  const start = text.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`Cannot find the heading ${JSON.stringify(heading)}: expected it in the page`);
  const level = /^#+/.exec(heading)![0].length;
  const rest = text.slice(start + heading.length + 2);
  const end = new RegExp(`^#{1,${level}} `, "m").exec(rest)?.index;
  return end === undefined ? rest : rest.slice(0, end);
}

/** The cells of all table rows, heads and separators included. */
export function tableRows(text: string): string[][] {
  return withoutCode(text).split("\n").filter((line) => line.startsWith("|")).map((line) =>
    line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim())
  );
}

/** The parts of a text that are set as code: `` `like this` ``. */
export function codeWords(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
}
