import { isA, printable, shown, typeName } from "../base/shown.ts";

/**
 * The path that a caller means: a text as it is, or what a `file:` URL leads to. Throws TypeError for everything else;
 * `action` begins the message.
 */
export function pathText(target: unknown, action: string): string {
  if (typeof target === "string") return target;
  if (isA(target, URL)) return pathOfUrl(target, action);
  throw new TypeError(
    `Cannot ${action} a target of type ${typeName(target)}: wanted a string, a path or driver:target, or a file: URL`,
  );
}

function pathOfUrl(url: URL, action: string): string {
  const { href, protocol, host, pathname, search, hash } = copyOf(url);
  const refuse = (wanted: string) => new TypeError(`Cannot ${action} ${printable(href)}: wanted ${wanted}`);
  if (protocol !== "file:") throw refuse("a file: URL");
  if (host !== "") throw refuse("a file: URL of this machine");
  // In a path these are %3F and %23: something else was meant, or they were forgotten.
  if (search !== "" || hash !== "") throw refuse("a file: URL without ? and #");
  if (/%2f/i.test(pathname)) throw refuse("a file: URL without %2F, a slash that ends no folder");
  try {
    return decodeURIComponent(pathname);
  } catch {
    throw refuse("escapes that are UTF-8");
  }
}

/** A URL of our own; what only inherits from one has none of its parts. */
function copyOf(url: URL): URL {
  try {
    return new URL(url.href);
  } catch {
    return new URL("about:blank");
  }
}

/** Throws a TypeError for what should be a text and is none; `action` begins the message. */
export function checkText(value: unknown, action: string, wanted: string): asserts value is string {
  if (typeof value !== "string") throw new TypeError(`Cannot ${action} ${shown(value)}: wanted ${wanted}`);
}
