import type { TargetInfo } from "../../core/base/block.ts";
import type { OpenOptions } from "../../core/device/backend.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { invariant } from "../../core/base/invariant.ts";
import { MAX_IOVECS, MAX_TRANSFER_BYTES } from "../../core/base/limits.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { Blkio, blkioError, BlkioFailure, type Queue, requireVersion } from "../../ffi/libblkio/mod.ts";
import { fileEnd, sharesOpenFile } from "../../ffi/libc/descriptor.ts";
import { closeFile, duplicateFile } from "../../ffi/libc/mod.ts";
import { FileTarget } from "../../ffi/target.ts";
import { disownDescriptor } from "../../ffi/thread_exit.ts";
import type { RegionNeeds } from "./memory.ts";
import { applyProperties, type PropertyPlan, setProperty } from "./properties.ts";
import type { Disk } from "./disk.ts";
import { ServerLink } from "./server_link.ts";
import type { BlkioTarget } from "./address.ts";
import { assertSocket, VHOST_USER } from "./target.ts";

/** Regions that libblkio maps for itself. */
const OWN_REGIONS = 1;

/** A started instance with its first queue, and what there is to know of the disk behind it. */
export class Session implements Disposable {
  /** The instance. */
  readonly blkio: Blkio;
  /** Its queue with index 0. */
  readonly queue: Queue;
  /** The file or block device of libblkio's driver io_uring; null for every other driver. */
  readonly file: FileTarget | null;
  /** The server's end of the connection; null where there is no server. */
  readonly link: ServerLink | null;
  /** What the target turned out to be. */
  readonly info: TargetInfo;
  /** What the queue has to know. */
  readonly disk: Disk;
  /** What memory has to be. */
  readonly needs: RegionNeeds;
  /** Buffers in one vectored request. */
  readonly maxIovecs: number;

  /** Takes ownership of the parts; see {@link openSession}. */
  constructor(blkio: Blkio, queue: Queue, file: FileTarget | null, link: ServerLink | null) {
    this.blkio = blkio;
    this.queue = queue;
    this.file = file;
    this.link = link;
    this.info = file?.info ?? describe(blkio);
    this.disk = diskOf(blkio, file);
    this.needs = {
      regions: flag(blkio, "needs-mem-regions"),
      fd: flag(blkio, "needs-mem-region-fd"),
      // libblkio's own memory of its queues is a region as well; a server ends the connection at one too many.
      maxRegions: integer(blkio, "max-mem-regions") - (flag(blkio, "needs-mem-regions") ? OWN_REGIONS : 0),
    };
    this.maxIovecs = Math.min(MAX_IOVECS, integer(blkio, "max-segments"));
  }

  /** Destroys the instance and closes what belongs to it. */
  [Symbol.dispose](): void {
    tearDown(
      () => this.queue[Symbol.dispose](),
      () => this.blkio[Symbol.dispose](),
      () => this.link?.[Symbol.dispose](),
      () => this.file?.close(),
    );
  }
}

/** Creates, connects and starts an instance. Throws StorageError; nothing stays open then. */
export function openSession(target: BlkioTarget, { options, settings }: PropertyPlan): Session {
  const { driver, path } = target;
  requireVersion();
  using stack = new DisposableStack();
  const blkio = stack.use(create(driver));
  // Opened by us where libblkio takes a descriptor: the same options, checks and words as of our other drivers.
  const file = driver === "io_uring" ? stack.adopt(FileTarget.open(path, options), (each) => each.close()) : null;
  if (file === null) refuseFileOptions(driver, options);
  if (driver === VHOST_USER) assertSocket(path);
  const later = applyProperties(blkio, settings);
  let copy = -1;
  if (file === null) {
    setProperty(blkio, "path", path);
    setProperty(blkio, "read-only", String(options.readOnly ?? false));
  } else {
    copy = stack.adopt(duplicateFile(file.fd, path), (fd) => closeUnlessTaken(fd, file, blkio));
    setProperty(blkio, "fd", String(copy));
  }
  const link = connect(blkio, path);
  if (copy >= 0) disownDescriptor(copy);
  if (link !== null) stack.use(link);
  applyProperties(blkio, later);
  attempt("start", path, () => blkio.start());
  const queue = blkio.queue(0);
  if (queue === null) throw missingQueue(blkio, path);
  stack.use(queue);
  const session = new Session(blkio, queue, file, link);
  stack.move();
  return session;
}

/** libblkio owns the copy once it has connected; where it fails to, it may have closed it or not. */
function closeUnlessTaken(copy: number, file: FileTarget, blkio: Blkio): void {
  if (blkio.state === "created" && sharesOpenFile(file.fd, copy)) closeFile(copy, file.path);
  else disownDescriptor(copy);
}

/** What a user has asked for without a queue, or what libblkio could not make. */
function missingQueue(blkio: Blkio, path: string): Error {
  if (integer(blkio, "num-queues") === 0) {
    return new RangeError(`Cannot open ${path} without a queue: wanted num-queues of 1 or more`);
  }
  return new StorageError({
    kind: "resource",
    op: "get a queue of",
    target: path,
    detail: "libblkio has none to give",
  });
}

function create(driver: string): Blkio {
  try {
    return new Blkio(driver);
  } catch (error) {
    if (!(error instanceof BlkioFailure)) throw error;
    throw blkioError(error, { kind: "unsupported", op: "create driver", target: driver });
  }
}

function connect(blkio: Blkio, path: string): ServerLink | null {
  let link: ServerLink | null = null;
  attempt("connect to", path, () => {
    if (blkio.driver === VHOST_USER) link = ServerLink.around(path, () => blkio.connect());
    else blkio.connect();
  });
  return link;
}

/** What to do about an errno of connect, for those that say too little. */
const CONNECT_HINTS: Readonly<Record<number, string>> = {
  [Errno.ENOENT]: "wanted the path of something that is there",
  [Errno.ECONNREFUSED]: "no server listens on the socket; wanted a vhost-user-blk server",
  [Errno.EROFS]: "wanted readOnly: true",
};

function attempt(op: string, target: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof BlkioFailure)) throw error;
    const hint = CONNECT_HINTS[error.errno];
    throw blkioError(error, { kind: "open", op, target, ...hint === undefined ? {} : { hint } });
  }
}

/** Options that say how a file is opened mean nothing where libblkio connects to something else. */
function refuseFileOptions(driver: string, options: OpenOptions): void {
  for (const name of ["create", "truncate"] as const) {
    if (options[name] !== true) continue;
    throw new StorageError({
      kind: "unsupported",
      op: "open with",
      target: name,
      detail: `libblkio's driver ${driver} opens what is there; wanted driver io_uring`,
    });
  }
}

function describe(blkio: Blkio): TargetInfo {
  const request = integer(blkio, "request-alignment");
  return {
    kind: blkio.driver === VHOST_USER ? "remote" : "block device",
    blockSize: request,
    alignment: { memory: integer(blkio, "buf-alignment"), offset: request },
    readOnly: flag(blkio, "read-only"),
    direct: true,
    // A server takes one client, vDPA and VFIO devices can be open once.
    singleOwner: blkio.driver !== "nvme-io_uring",
  };
}

function diskOf(blkio: Blkio, file: FileTarget | null): Disk {
  const limit = (name: string) => integer(blkio, name) || Infinity;
  const align = file?.info.alignment.offset ?? integer(blkio, "request-alignment");
  const pieceBytes = Math.min(MAX_TRANSFER_BYTES, limit("max-transfer"), limit("max-segment-len"));
  const isFile = file !== null && file.info.kind === "file";
  return {
    capacityBytes: isFile ? Infinity : file?.size() ?? integer(blkio, "capacity"),
    maxPieceBytes: pieceBytes - pieceBytes % align,
    maxDiscardBytes: limit("max-discard-len"),
    maxZeroesBytes: limit("max-write-zeroes-len"),
    end: () => endOf(file!),
    growTo: (byteLength) => file!.growTo(byteLength),
  };
}

/** The end of a file, or −errno. */
function endOf(file: FileTarget): number {
  try {
    return fileEnd(file.fd, file.path);
  } catch (error) {
    if (error instanceof StorageError) return -error.errno;
    throw error;
  }
}

function flag(blkio: Blkio, name: string): boolean {
  return property(blkio, name) === "true";
}

function property(blkio: Blkio, name: string): string {
  try {
    return blkio.get(name);
  } catch (error) {
    if (!(error instanceof BlkioFailure)) throw error;
    throw blkioError(error, { kind: "open", op: `read property ${name} of`, target: blkio.driver });
  }
}

function integer(blkio: Blkio, name: string): number {
  const value = Number(property(blkio, name));
  invariant(value >= 0, `libblkio says that ${name} is ${value}: wanted a number from 0 up`);
  return value;
}
