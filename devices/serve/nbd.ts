import { BlockDevice } from "../../core/device/block_device.ts";
import { StorageError } from "../../core/base/errors.ts";
import { FLAG, FUNCTION, integer, oneOf, OptionTable, TEXT } from "../../core/base/options.ts";
import { isA, shown } from "../../core/base/shown.ts";
import { MAX_NAME_BYTES } from "../../core/nbd/protocol.ts";
import { checkText } from "../../core/system/target_path.ts";
import { listenOnPort, type TcpListener } from "../../ffi/tcp_listener.ts";
import { listenAt, type Listener } from "../../ffi/unix_socket.ts";
import { NbdDisk, NbdServer, type NbdServeStats } from "../nbd/mod.ts";
import { claimImage } from "./image_claim.ts";

/** How a disk is served over NBD. */
export interface ServeNbdOptions {
  /** Name of the export. Default empty: what a client gets that names none. */
  readonly exportName?: string;
  /** Take the locks that QEMU takes on an image, for as long as it is served. Default true. */
  readonly lock?: boolean;
  /** `"raw"`: the bytes of the target are the disk, also where they begin as an image of another format does. */
  readonly format?: "raw";
  /** Receives one line for each thing worth knowing: clients that come and go, and why. */
  readonly log?: (line: string) => void;
}

/** Where clients connect: the path of a UNIX socket, or a host and a port; port 0 lets the kernel choose. */
export type NbdSocket = string | { readonly host: string; readonly port: number };

/** A disk that is being served. */
export interface ServedNbd extends AsyncDisposable {
  /** Resolves when the server has been closed. */
  readonly served: Promise<void>;
  /** What it has done, live. */
  readonly stats: NbdServeStats;
  /** The port of a server on TCP, else null. */
  readonly port: number | null;
  /** Answers what is in flight, disconnects all clients, and removes the socket. The disk stays open. */
  close(): Promise<void>;
  /** Removes the socket and waits for nothing: for a process that ends now, whatever is in flight. */
  abandon(): void;
}

const OPTIONS = new OptionTable<ServeNbdOptions>("serve with", {
  exportName: TEXT,
  lock: FLAG,
  format: oneOf(["raw"]),
  log: FUNCTION,
});

/** Largest port. */
const MAX_PORT = 65_535;

const PLACE = new OptionTable<Exclude<NbdSocket, string>>("listen at", {
  host: TEXT,
  port: integer(0, MAX_PORT, `an integer from 0 to ${MAX_PORT}`),
});

/**
 * Serves `device` over NBD, in this Worker, to any number of clients: nbdcopy, qemu-img, the kernel's nbd, and plugio's own driver.
 * A read-only device is served read-only. There is no TLS and no password: who reaches the socket has the disk.
 *
 * The device stays the caller's: close it after the server. Needs `--allow-ffi`. Rejects with RangeError for options that make no
 * sense, and with StorageError of kind `open` where there can be no such socket, or another program has locked the image.
 */
export async function serveNbd(device: BlockDevice, socket: NbdSocket, options?: ServeNbdOptions): Promise<ServedNbd> {
  const { exportName = "", lock = true, format = null, log = () => {} } = OPTIONS.read(options);
  if (!isA(device, BlockDevice)) throw new TypeError(`Cannot serve ${shown(device)}: wanted a BlockDevice`);
  checkName(exportName);
  checkSize(device);
  const unlock = claimImage(device, { lock, format, log });
  let listener: Listener | TcpListener;
  try {
    listener = await listen(socket);
  } catch (error) {
    unlock();
    throw error;
  }
  if (listener.replacedStale) log(`a stale socket was replaced`);
  const disk = new NbdDisk(device, exportName);
  const server = new NbdServer(disk, listener, log);
  const close = async () => {
    try {
      await server.close();
    } finally {
      unlock();
    }
  };
  return {
    served: server.served,
    stats: disk.stats,
    port: "port" in listener ? listener.port : null,
    close,
    abandon: () => server.abandon(),
    [Symbol.asyncDispose]: close,
  };
}

async function listen(socket: unknown): Promise<Listener | TcpListener> {
  if (typeof socket === "object" && socket !== null) {
    const { host, port } = PLACE.read(socket);
    checkText(host, "listen at", "a host");
    PLACE.check("port", port);
    return await listenOnPort(host, port);
  }
  checkText(socket, "serve at", "the path of a socket");
  if (!socket.startsWith("@")) return listenAt(socket);
  throw new RangeError(`Cannot serve at ${shown(socket)}: abstract sockets are not served, wanted a path`);
}

function checkName(name: string): void {
  const byteLength = new TextEncoder().encode(name).length;
  if (byteLength <= MAX_NAME_BYTES && !name.includes("\0")) return;
  throw new RangeError(
    `Cannot serve an export whose name has ${byteLength} bytes: wanted at most ${MAX_NAME_BYTES}, without NUL`,
  );
}

function checkSize({ size, alignment, target }: BlockDevice): void {
  if (size >= alignment.offset) return;
  const detail = `it has ${size} bytes; wanted at least ${alignment.offset}`;
  throw new StorageError({ kind: "unsupported", op: "serve", target, detail });
}
