import type { ReportDocument } from "./document.ts";
import type { Graph, GraphGroup } from "./graphs.ts";
import { colourCss } from "./palette.ts";
import { type Table, withoutEmpty } from "./tables.ts";

const STYLE = `
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 70ch; }
.muted, .note { color: var(--muted); }
.note { font-size: .9rem; }
.findings { padding: 1rem 1.25rem 1rem 2.25rem; margin: 1.25rem 0; background: var(--panel); border-radius: 8px; }
.findings li { margin: .15rem 0; }
.warnings { margin: 1.25rem 0; padding: .75rem 1rem; border-left: 4px solid var(--amber); background: var(--panel); }
.warnings p { margin: .15rem 0; max-width: none; }
.graphs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; max-width: 560px; }
figure .narrow { display: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--grid); white-space: nowrap; text-align: left; }
th { color: var(--muted); font-weight: 500; }
.right { text-align: right; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; font-size: .9rem; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
a { color: var(--blue); }
details ul { columns: 22rem; font-size: .8rem; overflow-wrap: anywhere; }
@media (max-width: 600px) {
  main { padding: 1.25rem .9rem 3rem; }
  figure .wide { display: none; }
  figure .narrow { display: block; }
  dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .4rem; }
}
@media print {
  main { max-width: none; padding: 0; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .findings { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; white-space: normal; }
}
`;

/** The report as one HTML page that needs nothing but itself. */
export function toHtml(report: ReportDocument): string {
  const parts = [
    `<h1>${escape(report.title)}</h1>`,
    `<p class="muted">${escape(report.subtitle)}</p>`,
    list(report.findings),
    warnings(report.warnings),
    ...report.graphs.map(graphGroup),
    ...report.comparison === null ? [] : [
      `<h2 id="comparison">Against ${escape(report.comparison.path)}</h2>`,
      ...report.comparison.graphs.map(graphGroup),
      ...report.comparison.tables.map(table),
    ],
    `<h2 id="tables">Tables</h2>`,
    `<p class="note">IOPS are medians, truncated to whole ones; changes are truncated toward zero.</p>`,
    ...report.tables.map(table),
    `<h2 id="context">Context</h2>`,
    `<dl>${report.context.map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`).join("")}</dl>`,
    rawLinks(report.links),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(report.title)} – plugio</title>
<style>
${colourCss()}${STYLE}</style>
</head>
<body>
<main>
${parts.filter((part) => part !== "").join("\n")}
</main>
</body>
</html>
`;
}

function list(findings: readonly string[]): string {
  return findings.length === 0
    ? ""
    : `<ul class="findings">${findings.map((f) => `<li>${escape(f)}</li>`).join("")}</ul>`;
}

function warnings(lines: readonly string[]): string {
  if (lines.length === 0) return "";
  return `<div class="warnings" role="note">${lines.map((line) => `<p>${escape(line)}</p>`).join("")}</div>`;
}

function graphGroup({ title, note, graphs }: GraphGroup): string {
  return `<h2>${escape(title)}</h2>\n<p class="note">${escape(note)}</p>\n<div class="graphs">${
    graphs.map(figure).join("\n")
  }</div>`;
}

/** Only one of the two is displayed, so only one is read out. */
function figure({ wide, narrow }: Graph): string {
  return `<figure><div class="wide">${wide}</div><div class="narrow">${narrow}</div></figure>`;
}

function table(full: Table): string {
  const { title, columns, rows } = withoutEmpty(full);
  const kind = (at: number) => columns[at]!.align === "right" ? ' class="right"' : "";
  const head = columns.map(({ name }, at) => `<th scope="col"${kind(at)}>${escape(name)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((cell, at) => `<td${kind(at)}>${escape(cell)}</td>`).join("")}</tr>`);
  return `<div class="scroll"><table><caption>${escape(title)}</caption><thead><tr>${head}</tr></thead><tbody>${
    body.join("")
  }</tbody></table></div>`;
}

function rawLinks(links: readonly string[]): string {
  const items = links.map((link) => `<li><a href="${escape(encodeURI(link))}">${escape(link)}</a></li>`).join("");
  return `<h2 id="raw">Raw results</h2>
<p class="note">One file a run, in fio's JSON layout, beside this page.</p>
<details><summary>${links.length} ${links.length === 1 ? "file" : "files"}</summary><ul>${items}</ul></details>`;
}

/** Text as HTML, also inside quoted attributes. */
function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
