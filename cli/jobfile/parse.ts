import { CliError, misuse, throwAll } from "../failure.ts";
import { expandWords, type Variables } from "./expand.ts";

/** Longest job file: fio's own examples have a few dozen lines. */
export const MAX_JOB_FILE_BYTES = 1024 * 1024;

/** Files that include each other go no deeper than this. */
const MAX_INCLUDES_DEEP = 16;

/** Files that one job file includes, each time counted: without a bound, files that include others twice never end. */
const MAX_INCLUDES = 256;

/** Longest line, without its comment: a path has 4096 bytes at most. */
const MAX_LINE_LENGTH = 8192;

/** One `name=value` of a job file. */
export interface JobFileOption {
  /** As written, in lower case, with underscores. */
  readonly name: string;
  /** Null where the name stands alone. */
  readonly value: string | null;
  /** File and line, as `jobs.fio:3`. */
  readonly place: string;
}

/** One job: its own options after those of the `[global]` sections before it. */
export interface JobFileSection {
  readonly name: string;
  /** File and line of its heading, as `jobs.fio:3`. */
  readonly place: string;
  readonly options: readonly JobFileOption[];
}

/** What a job file can ask of its surroundings. */
export interface Surroundings {
  /** The variables behind `${NAME}` and fio's own words. */
  readonly variables: Variables;
  /** Path and text of a file that `path` includes as `name`. Throws where there is none. */
  include(name: string, path: string): { readonly path: string; readonly text: string };
}

/**
 * Reads fio's ini form: headings in brackets, one that begins with `global` for all jobs after it, `name=value` or a
 * name alone, `include FILE`, and comments from `;` or `#` to the end of the line. Throws CliErrors that name the
 * lines, all of them at once.
 */
export function parseJobFile(text: string, path: string, around: Surroundings): JobFileSection[] {
  const reader = new Reader(around);
  reader.read(text, path, []);
  throwAll(reader.errors);
  const { sections } = reader;
  if (sections.length === 0) throw misuse(`Cannot run ${path}: it has no job, wanted a heading such as [randread]`);
  return sections;
}

class Reader {
  readonly sections: { name: string; place: string; options: JobFileOption[] }[] = [];
  readonly errors: CliError[] = [];
  readonly #around: Surroundings;
  #global: JobFileOption[] = [];
  #options: JobFileOption[] | null = null;
  #includes = 0;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  /** Reads one file; `open` are those that are being read around it. */
  read(text: string, path: string, open: readonly string[]): void {
    for (const [index, raw] of text.split(/\r?\n/).entries()) {
      const content = raw.replace(/[;#].*/, "").trim();
      if (content === "" || this.#includes > MAX_INCLUDES) continue;
      const place = `${path}:${index + 1}`;
      try {
        this.#line(content, place, path, [...open, path]);
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        this.errors.push(error);
      }
    }
  }

  #line(content: string, place: string, path: string, open: readonly string[]): void {
    if (content.length > MAX_LINE_LENGTH) {
      throw misuse(`Cannot read ${place}: it has ${content.length} characters, wanted at most ${MAX_LINE_LENGTH}`);
    }
    const included = /^include\s+(.+)$/.exec(content)?.[1];
    if (included !== undefined) return this.#include(included, place, path, open);
    if (content.startsWith("[")) return this.#heading(content, place);
    if (this.#options === null) {
      throw misuse(`Cannot read ${place}: ${content} stands before any heading, wanted [global] or a job's name`);
    }
    this.#options.push(parseOption(content, place, this.#around.variables));
  }

  #heading(content: string, place: string): void {
    const name = /^\[(.+)\]$/.exec(content)?.[1]?.trim() ?? "";
    if (name === "") {
      // The lines below belong to no other job, and are not to blame.
      this.#options = [];
      throw misuse(`Cannot read ${place}: ${content} is no heading, wanted [NAME]`);
    }
    // As in fio, [global] and [globals] alike.
    if (name.startsWith("global")) {
      this.#options = this.#global = [...this.#global];
      return;
    }
    this.#options = [...this.#global];
    this.sections.push({ name, place, options: this.#options });
  }

  #include(name: string, place: string, path: string, open: readonly string[]): void {
    const file = this.#found(name, place, path);
    if (open.includes(file.path)) {
      const circle = [...open.slice(open.indexOf(file.path)), file.path].join(" → ");
      throw misuse(`Cannot include ${name} at ${place}: the files include each other (${circle}), wanted no circle`);
    }
    if (open.length >= MAX_INCLUDES_DEEP) {
      throw misuse(
        `Cannot include ${name} at ${place}: it is file ${
          open.length + 1
        } of a chain, wanted at most ${MAX_INCLUDES_DEEP}`,
      );
    }
    if (++this.#includes > MAX_INCLUDES) {
      throw misuse(
        `Cannot include ${name} at ${place}: it is include ${this.#includes}, wanted at most ${MAX_INCLUDES}`,
      );
    }
    this.read(file.text, file.path, open);
  }

  #found(name: string, place: string, path: string): ReturnType<Surroundings["include"]> {
    try {
      return this.#around.include(name, path);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      throw new CliError(error.exitCode, `${error.message} (included at ${place})`, { cause: error });
    }
  }
}

function parseOption(content: string, place: string, variables: Variables): JobFileOption {
  const equals = content.indexOf("=");
  const name = (equals < 0 ? content : content.slice(0, equals)).trim().toLowerCase().replaceAll("-", "_");
  if (!/^[a-z][a-z0-9_]*$/.test(name)) {
    throw misuse(`Cannot read ${place}: ${content} is no option, wanted NAME=VALUE`);
  }
  if (equals < 0) return { name, value: null, place };
  const written = content.slice(equals + 1).trim();
  if (written === "") throw misuse(`Cannot read ${place}: ${name} has no value, wanted ${name}=VALUE`);
  return { name, value: expandWords(written, `${name}=${written} of ${place}`, variables), place };
}
