/**
 * How a value of the caller's is named in a message: on one line, and so that no terminal is driven by it.
 *
 * @module
 */

/** Characters of a text that a message repeats at most. */
const MAX_SHOWN_CHARACTERS = 200;

/**
 * What a terminal acts on instead of showing it: control characters, ends of lines, marks that turn the direction of
 * writing, and halves of surrogate pairs.
 */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Escapes that are known by a letter. */
const LETTERS: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * The same text with its control characters as escapes: `\n`, `\x1b`, `\u{202e}`. For everything that comes from
 * outside, such as a file's name, before it is printed.
 *
 * @example
 * ```ts
 * import { printable } from "./shown.ts";
 *
 * console.assert(printable("a\x1b[31mb") === "a\\x1b[31mb");
 * ```
 */
export function printable(text: string): string {
  if (typeof text !== "string") throw new TypeError(`Cannot print ${shown(text)}: wanted a string`);
  return text.replace(UNPRINTABLE, escaped);
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = code.toString(16);
  return LETTERS[character] ?? (code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u{${hex}}`);
}

/** A value as messages name it: texts in quotes, `5n`, `an array`, `an object of type Date`. Never throws. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case "string":
      return `"${printable(cut(value))}"`;
    case "bigint":
      return `${cut(String(value))}n`;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "symbol":
      return printable(cut(String(value)));
    case "function":
      return "a function";
    case "object":
      return value === null ? "null" : shownObject(value);
    default:
      return String(value);
  }
}

function shownObject(value: object): string {
  const type = typeName(value);
  if (type === "Array") return "an array";
  return type === "Object" ? "an object" : `an object of type ${type}`;
}

/** True for an instance of `type`; false also for a Proxy that throws when it is asked. */
export function isA<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** The type that a value says it is: `"Uint16Array"`, `"Null"`, `"Number"`. Never throws. */
export function typeName(value: unknown): string {
  try {
    return printable(cut(Object.prototype.toString.call(value).slice("[object ".length, -1)));
  } catch {
    // A getter of the value's, or a Proxy that is revoked.
    return "Object";
  }
}

function cut(text: string): string {
  return text.length <= MAX_SHOWN_CHARACTERS ? text : `${text.slice(0, MAX_SHOWN_CHARACTERS)}…`;
}
