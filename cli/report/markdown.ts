import type { ReportDocument } from "./document.ts";
import type { GraphGroup } from "./graphs.ts";
import { type Table, tableMarkdown } from "./tables.ts";

/** The report as Markdown; graphs are files below `graphFolder`. */
export function toMarkdown(report: ReportDocument, graphFolder: string): string {
  const blocks = [
    `# ${text(report.title)}`,
    text(report.subtitle),
    report.findings.map((finding) => `- ${text(finding)}`).join("\n"),
    ...report.warnings.map((warning) => `> ${text(warning)}`),
    ...report.graphs.map((group) => graphs(group, graphFolder)),
    ...report.comparison === null ? [] : [
      `## Against ${text(report.comparison.path)}`,
      ...report.comparison.graphs.map((group) => graphs(group, graphFolder)),
      ...report.comparison.tables.map(table),
    ],
    "## Tables",
    ...report.tables.map(table),
    "## Context",
    report.context.map(([name, value]) => `- ${text(name)}: ${text(value)}`).join("\n"),
    "## Raw results",
    report.links.map((link) => `- [${text(link)}](${encodeURI(link)})`).join("\n"),
  ];
  return blocks.filter((block) => block !== "").join("\n\n") + "\n";
}

function graphs(group: GraphGroup, folder: string): string {
  const images = group.graphs.map(({ id, description }) => `![${text(description)}](${folder}/${id}.svg)`);
  return [`## ${text(group.title)}`, text(group.note), ...images].join("\n\n");
}

function table(full: Table): string {
  return `### ${text(full.title)}\n\n${tableMarkdown(full).trimEnd()}`;
}

/** Words that Markdown would take for marks are left as they are meant. */
function text(value: string): string {
  return value.replaceAll(/[\\`*_<>[\]|]/g, "\\$&");
}
