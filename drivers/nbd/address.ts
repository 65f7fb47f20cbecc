import { shown } from "../../core/base/shown.ts";
import { DEFAULT_PORT, MAX_NAME_BYTES } from "../../core/nbd/protocol.ts";
import { NBD_SCHEMES } from "./options.ts";
import { checkText } from "../../core/system/target_path.ts";

/** Where a server is. */
type NbdPlace =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** What an NBD URI says. */
export interface NbdAddress {
  readonly place: NbdPlace;
  /** Empty for the server's default. */
  readonly exportName: string;
  /** The scheme asks for TLS, which must not be left out. */
  readonly tls: boolean;
}

/** Scheme, authority, path and query: the parts of RFC 3986, appendix B. */
const PARTS = /^([a-z][a-z0-9+.-]*):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?$/i;

/** User, host and port. */
const AUTHORITY = /^(?:([^@]*)@)?(\[[^\]]*\]|[^:@]*)(?::(\d*))?$/;

/** Parameters that belong to TLS, in the specification or in libnbd. */
const TLS_PARAMETERS: readonly string[] = [
  "tls-type",
  "tls-hostname",
  "tls-verify-peer",
  "tls-certificates",
  "tls-psk-file",
  "tls-username",
];

const EXAMPLE = "nbd://HOST/EXPORT or nbd+unix:///EXPORT?socket=PATH";

/** Reads an NBD URI (doc/uri.md of NetworkBlockDevice/nbd). Throws a RangeError that says what is wrong with it. */
export function parseNbdAddress(address: string): NbdAddress {
  checkText(address, "read NBD address", EXAMPLE);
  const parts = PARTS.exec(address);
  if (parts === null) throw refusal(address, hintFor(address));
  const [, scheme = "", authority, path = "", query = "", fragment] = parts;
  const name = scheme.toLowerCase();
  if (!NBD_SCHEMES.includes(name) || authority === undefined) throw refusal(address, hintFor(address));
  if (fragment !== undefined) throw refusal(address, "no fragment, or %23 for a # in a name");
  const parameters = parametersOf(address, query);
  const exportName = decoded(address, path.replace(/^\//, ""));
  const nameBytes = new TextEncoder().encode(exportName).length;
  if (nameBytes > MAX_NAME_BYTES) {
    throw new RangeError(
      `Cannot read NBD address of an export whose name has ${nameBytes} bytes: wanted at most ${MAX_NAME_BYTES}`,
    );
  }
  if (exportName.includes("\0")) throw refusal(address, "an export name without NUL characters");
  const tls = name.startsWith("nbds");
  if (!tls && TLS_PARAMETERS.some((key) => parameters.has(key))) {
    throw refusal(address, `no parameters of TLS, or the scheme ${name.replace("nbd", "nbds")}`);
  }
  const place = name.endsWith("+unix")
    ? unixPlace(address, authority, parameters)
    : tcpPlace(address, authority, parameters);
  return { place, exportName, tls };
}

/** What else could have been meant. */
function hintFor(address: string): string {
  const [first = ""] = address.split(":");
  if (/^unix:/i.test(address)) return `nbd+unix:///?socket=PATH: the form of old QEMU is not read`;
  if (/^[^/:]+:\d+/.test(address) && first !== "") return `nbd://HOST:PORT/EXPORT: the form of old QEMU is not read`;
  return EXAMPLE;
}

function parametersOf(address: string, query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query === "" ? [] : query.split(/[&;]/)) {
    const equals = part.indexOf("=");
    const key = decoded(address, equals < 0 ? part : part.slice(0, equals));
    const value = equals < 0 ? "" : decoded(address, part.slice(equals + 1));
    if (key !== "socket" && !TLS_PARAMETERS.includes(key)) {
      throw refusal(address, `no parameter ${shown(key)}, which no NBD URI has`);
    }
    if (parameters.has(key)) throw refusal(address, `the parameter ${key} once`);
    parameters.set(key, value);
  }
  return parameters;
}

function unixPlace(address: string, authority: string, parameters: ReadonlyMap<string, string>): NbdPlace {
  if (authority.replace(/^[^@]*@/, "") !== "") {
    throw refusal(address, "three slashes before the export of a UNIX socket: nbd+unix:///EXPORT?socket=PATH");
  }
  const path = parameters.get("socket");
  if (path === undefined || path === "") throw refusal(address, "the parameter socket: nbd+unix:///EXPORT?socket=PATH");
  if (path.includes("\0")) throw refusal(address, "the path of a socket: abstract ones are not reached");
  return { kind: "unix", path };
}

function tcpPlace(address: string, authority: string, parameters: ReadonlyMap<string, string>): NbdPlace {
  const match = AUTHORITY.exec(authority);
  if (match === null) throw refusal(address, "HOST:PORT, with an IPv6 address in brackets");
  const [, , host = "", portText] = match;
  if (parameters.has("socket")) throw refusal(address, "the scheme nbd+unix for a socket");
  const port = portText === undefined || portText === "" ? DEFAULT_PORT : Number(portText);
  if (port < 1 || port > 65_535) throw refusal(address, "a port from 1 to 65535");
  if (host === "") throw refusal(address, "a host, or the scheme nbd+unix for a socket");
  return { kind: "tcp", host: decoded(address, host.replace(/^\[|\]$/g, "")), port };
}

function decoded(address: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refusal(address, "% with two hexadecimal digits, of UTF-8 (%25 for a % itself)");
  }
}

function refusal(address: string, wanted: string): RangeError {
  return new RangeError(`Cannot read NBD address ${shown(address)}: wanted ${wanted}`);
}
