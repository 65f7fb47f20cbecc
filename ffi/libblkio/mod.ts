import { Errno } from "../../core/base/errno.ts";
import { StorageError, type StorageErrorKind } from "../../core/base/errors.ts";
import { cString, libc } from "../libc/mod.ts";
import { loadLibrary } from "../loader.ts";
import { AlignedMemory } from "../memory.ts";
import { type ExitCall, ownQueue } from "../thread_exit.ts";
import { BLKIO_MEM_REGION } from "./layout.ts";
import { Queue, type RegionMemory } from "./queue.ts";
import { LIBBLKIO, LIBBLKIO_SYMBOLS } from "./symbols.ts";

export { BLKIO_CONSTANTS } from "./layout.ts";
export {
  COMPLETION_RESULT,
  COMPLETION_TAG,
  COMPLETION_WORDS,
  MAX_COMPLETIONS,
  Queue,
  type QueuePort,
  type RegionMemory,
} from "./queue.ts";
export { LIBBLKIO, LIBBLKIO_SYMBOLS } from "./symbols.ts";

/** States of an instance, in order. */
const BLKIO_STATES = ["created", "connected", "started"] as const;

/** One of {@link BLKIO_STATES}. */
export type BlkioState = (typeof BLKIO_STATES)[number];

/** A call of libblkio that failed, before it is worded for the user. */
export class BlkioFailure extends Error {
  /** Always `"BlkioFailure"`. */
  override readonly name = "BlkioFailure";
  /** Positive errno. */
  readonly errno: number;

  /** Carries libblkio's own message. */
  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** A `struct blkio` through its life: created → connected → started. Belongs to one Worker. */
export class Blkio implements Disposable {
  /** libblkio's name of the driver. */
  readonly driver: string;
  readonly #lib: Deno.StaticForeignLibraryInterface<typeof LIBBLKIO_SYMBOLS>;
  /** A `struct blkio *`, which blkio_destroy(3) empties: in memory that is there until the end of the thread. */
  readonly #handle: AlignedMemory;
  readonly #atExit: ExitCall;
  #pointer: Deno.PointerObject | null;
  #state: BlkioState = "created";

  /** Creates an instance. Throws BlkioFailure for a driver that this libblkio or this kernel does not have. */
  constructor(driver: string) {
    const { symbols, foundAs } = loadLibrary(LIBBLKIO, LIBBLKIO_SYMBOLS);
    using stack = new DisposableStack();
    this.driver = driver;
    this.#lib = symbols;
    this.#handle = stack.use(new AlignedMemory(BigUint64Array.BYTES_PER_ELEMENT));
    this.#check(symbols.blkio_create(cString(driver), this.#handle.bytes));
    this.#pointer = Deno.UnsafePointer.create(new BigUint64Array(this.#handle.bytes.buffer)[0]!);
    this.#atExit = ownQueue(foundAs, "blkio_destroy", Deno.UnsafePointer.value(this.#handle.pointer));
    stack.move();
  }

  /** Where the instance is in its life. */
  get state(): BlkioState {
    return this.#state;
  }

  /** Connects to what the properties name. Throws BlkioFailure. Blocks until the other end has answered. */
  connect(): void {
    this.#check(this.#lib.blkio_connect(this.#pointerOf("connect")));
    this.#state = "connected";
  }

  /** Makes the queues. Throws BlkioFailure. */
  start(): void {
    this.#check(this.#lib.blkio_start(this.#pointerOf("start")));
    this.#state = "started";
  }

  /** A property as text, whatever its type. Throws BlkioFailure. */
  get(name: string): string {
    const value = new BigUint64Array(1);
    const bytes = new Uint8Array(value.buffer);
    this.#check(this.#lib.blkio_get_str(this.#pointerOf("get"), cString(name), bytes));
    const pointer = Deno.UnsafePointer.create(value[0]!)!;
    try {
      return Deno.UnsafePointerView.getCString(pointer);
    } finally {
      libc().free(pointer);
    }
  }

  /** Sets a property from text, whatever its type. Throws BlkioFailure. */
  set(name: string, value: string): void {
    this.#check(this.#lib.blkio_set_str(this.#pointerOf("set"), cString(name), cString(value)));
  }

  /** The queue with this index, or null where the instance has none. */
  queue(index: number): Queue | null {
    const pointer = this.#lib.blkio_get_queue(this.#pointerOf("queue"), index);
    return pointer === null ? null : new Queue(pointer);
  }

  /** Makes `memory` known, so that requests may point into it. Throws BlkioFailure. Not while requests use it. */
  map(memory: RegionMemory): void {
    this.#check(this.#lib.blkio_map_mem_region(this.#pointerOf("map"), describeRegion(memory)));
  }

  /** Undoes `map`; harmless for memory that is not mapped. */
  unmap(memory: RegionMemory): void {
    this.#lib.blkio_unmap_mem_region(this.#pointerOf("unmap"), describeRegion(memory));
  }

  /** Destroys the instance with its queues. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#pointer === null) return;
    this.#pointer = null;
    this.#atExit.drop();
    this.#lib.blkio_destroy(this.#handle.bytes);
    this.#handle[Symbol.dispose]();
  }

  #pointerOf(op: string): Deno.PointerObject {
    if (this.#pointer !== null) return this.#pointer;
    throw new StorageError({ kind: "closed", op, target: "Blkio", detail: "it is destroyed; wanted a live instance" });
  }

  #check(result: number): void {
    if (result >= 0) return;
    // Of this thread, and only until its next call.
    const message = this.#lib.blkio_get_error_msg();
    throw new BlkioFailure(-result, message === null ? "" : Deno.UnsafePointerView.getCString(message));
  }
}

function describeRegion(memory: RegionMemory): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLKIO_MEM_REGION.byteLength);
  const view = new DataView(bytes.buffer);
  const f = BLKIO_MEM_REGION.fields;
  view.setInt32(f.address.offset, memory.addressLow, true);
  view.setInt32(f.address.offset + 4, memory.addressHigh, true);
  view.setBigUint64(f.length.offset, BigInt(memory.byteLength), true);
  view.setInt32(f.fd.offset, memory.fd, true);
  return bytes;
}

/** The StorageError of a failed call: libblkio's own words, and what plugio has to add to them. */
export function blkioError(
  failure: BlkioFailure,
  fields: { readonly kind: StorageErrorKind; readonly op: string; readonly target: string; readonly hint?: string },
): StorageError {
  const { kind, op, target, hint } = fields;
  // The library puts the system's text, with the number, into some of its messages: said once is enough.
  const message = failure.message.replace(/ \(os error \d+\)$/, "");
  const detail = hint === undefined ? `libblkio says "${message}"` : `libblkio says "${message}"; ${hint}`;
  return new StorageError({ kind, op, target, errno: failure.errno, detail, cause: failure });
}

let versionChecked = false;

/**
 * Throws StorageError of kind `library` for a libblkio before 1.3. It does not tell its version, so a property that came
 * with 1.3 is asked for.
 */
export function requireVersion(): void {
  if (versionChecked) return;
  try {
    using sample = new Blkio("virtio-blk-vhost-vdpa");
    sample.get("fd");
  } catch (error) {
    if (!(error instanceof BlkioFailure)) throw error;
    if (error.errno !== Errno.ENOENT) throw blkioError(error, { kind: "library", op: "use", target: "libblkio" });
    throw new StorageError({
      kind: "library",
      op: "use",
      target: "libblkio",
      detail: `it is older than 1.3; wanted the package ${LIBBLKIO.packages.debian} of Debian 13 or later, or ` +
        `${LIBBLKIO.overrideVariable}=PATH`,
      cause: error,
    });
  }
  versionChecked = true;
}
