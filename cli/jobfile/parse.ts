import { misuse } from "../failure.ts";

/** Longest job file: fio's own examples have a few dozen lines. */
export const MAX_JOB_FILE_BYTES = 1024 * 1024;

/** One `name=value` of a job file. */
export interface JobFileOption {
  /** As written, in lower case, with underscores. */
  readonly name: string;
  /** Null where the name stands alone. */
  readonly value: string | null;
  /** From 1. */
  readonly line: number;
}

/** One job: its own options after those of the `[global]` sections before it. */
export interface JobFileSection {
  readonly name: string;
  /** Where its heading is, from 1. */
  readonly line: number;
  readonly options: readonly JobFileOption[];
}

/**
 * Reads fio's ini form: headings in brackets, a `[global]` for all jobs after it, `name=value` or a name alone, and
 * comments that begin with `;` or `#` at the start of a line. Throws CliError that names the line.
 */
export function parseJobFile(text: string, path: string): JobFileSection[] {
  const sections: { name: string; line: number; options: JobFileOption[] }[] = [];
  let global: JobFileOption[] = [];
  let options: JobFileOption[] | null = null;
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    const content = raw.trim();
    if (content === "" || content.startsWith(";") || content.startsWith("#")) continue;
    if (content.startsWith("[")) {
      const name = /^\[(.+)\]$/.exec(content)?.[1]?.trim() ?? "";
      if (name === "") throw misuse(`Cannot read ${path}:${line}: ${content} is no heading, wanted [NAME]`);
      if (name === "global") {
        options = global = [...global];
      } else {
        options = [...global];
        sections.push({ name, line, options });
      }
      continue;
    }
    if (options === null) {
      throw misuse(
        `Cannot read ${path}:${line}: ${content} stands before any heading, wanted [global] or a job's name`,
      );
    }
    options.push(parseOption(content, line, path));
  }
  if (sections.length === 0) throw misuse(`Cannot run ${path}: it has no job, wanted a heading such as [randread]`);
  return sections;
}

function parseOption(content: string, line: number, path: string): JobFileOption {
  const equals = content.indexOf("=");
  const name = (equals < 0 ? content : content.slice(0, equals)).trim().toLowerCase().replaceAll("-", "_");
  if (!/^[a-z][a-z0-9_]*$/.test(name)) {
    throw misuse(`Cannot read ${path}:${line}: ${content} is no option, wanted NAME=VALUE`);
  }
  if (equals < 0) return { name, value: null, line };
  const value = content.slice(equals + 1).trim();
  if (value === "") throw misuse(`Cannot read ${path}:${line}: ${name} has no value, wanted ${name}=VALUE`);
  return { name, value, line };
}
