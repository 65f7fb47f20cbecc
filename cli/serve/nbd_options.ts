import { DEVICE_BATCH_MODES, type DeviceBatchMode } from "../../mod.ts";
import type { NbdSocket } from "../../devices/serve/mod.ts";
import { chosenDriver } from "../driver.ts";
import { misuse } from "../failure.ts";
import { choice, type RawOptions, text } from "../load/raw_options.ts";

/** A disk to be served over NBD, as the command line says it. */
export interface ServeNbdPlan {
  readonly target: string;
  readonly socket: NbdSocket;
  readonly driver: string | null;
  readonly direct: boolean;
  readonly readOnly: boolean;
  readonly batch: DeviceBatchMode;
  readonly exportName: string;
  readonly lock: boolean;
  readonly format?: "raw";
}

/** Host and port; an IPv6 address stands in brackets. */
const ADDRESS = /^(\[[^\]]+\]|[^:[\]]+):(\d{1,5})$/;

/** Largest port. */
const MAX_PORT = 65_535;

/** Checks the command line of `serve nbd`. Throws CliError with exit code 2 that names the option and what it wants. */
export function parseServeNbdOptions(target: string, raw: RawOptions): ServeNbdPlan {
  if (target === "" || target.includes("\0")) {
    throw misuse(`Cannot use target ${JSON.stringify(target)}: wanted a path without NUL characters`);
  }
  return {
    target,
    socket: parseSocket(raw),
    driver: chosenDriver(text(raw, "driver"), target),
    direct: choice(raw, "direct", ["0", "1"], "0") === "1",
    readOnly: raw["readonly"] === true,
    batch: choice(raw, "batch", DEVICE_BATCH_MODES, "plug"),
    exportName: text(raw, "exportName") ?? "",
    // The parser has it as true without --no-lock.
    lock: raw["lock"] !== false,
    ...text(raw, "format") === null ? {} : { format: choice(raw, "format", ["raw"], "raw") },
  };
}

function parseSocket(raw: RawOptions): NbdSocket {
  const path = text(raw, "socket");
  const address = text(raw, "listen");
  if (path !== null && address !== null) {
    throw misuse(`Cannot use --listen ${address} with --socket ${path}: wanted one of the two`);
  }
  if (path !== null) {
    if (!path.startsWith("@")) return path;
    throw misuse(`Cannot use --socket ${path}: abstract sockets are not served, wanted a path`);
  }
  if (address === null) throw misuse("Cannot serve without a socket: wanted --socket <path> or --listen <host:port>");
  const match = ADDRESS.exec(address);
  const port = Number(match?.[2]);
  if (match === null || port > MAX_PORT) {
    throw misuse(`Cannot use --listen ${address}: wanted HOST:PORT, such as 127.0.0.1:10809 or [::1]:10809`);
  }
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port };
}
