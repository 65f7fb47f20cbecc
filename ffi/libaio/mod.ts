import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { wordIndex } from "../../core/base/layout.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { signalEventFd } from "../libc/mod.ts";
import { loadLibrary } from "../loader.ts";
import { AlignedMemory } from "../memory.ts";
import { startThread } from "../thread.ts";
import { type ExitCall, ownQueue } from "../thread_exit.ts";
import { AIO_RING, AIO_RING_MAGIC, IO_EVENT, IOCB } from "./layout.ts";
import { LIBAIO, LIBAIO_SYMBOLS } from "./symbols.ts";

export { IO_EVENT, IOCB, LIBAIO_CONSTANTS } from "./layout.ts";

/** Words of one submission entry. */
export const IOCB_WORDS = IOCB.byteLength / 4;

/** Words of one completion. */
export const EVENT_WORDS = IO_EVENT.byteLength / 4;

/** Bytes of a pointer. */
const POINTER_BYTES = 8;

/** Features of the ring that this code understands: none is defined so far (AIO_RING_INCOMPAT_FEATURES is 0). */
const KNOWN_INCOMPATIBLE_FEATURES = 0;

/** The ring of completions that the kernel maps into this process, to be read without a system call. */
export interface EventRing {
  /** The whole mapping. */
  readonly words: Int32Array;
  /** Index of the head in `words`: ours to write. */
  readonly headAt: number;
  /** Index of the tail in `words`: the kernel's. */
  readonly tailAt: number;
  /** Index of the first event in `words`. */
  readonly eventsAt: number;
  /** Events that fit; head and tail wrap there. */
  readonly count: number;
}

/**
 * An AIO context as a driver sees it: entries to write, completions to read, two system calls. An interface, so that a
 * test can put a kernel that misbehaves behind the same driver.
 */
export interface AioPort {
  /** Entries, {@link IOCB_WORDS} each. The next submission takes them from the first one on. */
  readonly iocbs: Int32Array;
  /** Number of entries. */
  readonly capacity: number;
  /** True when entries name an eventfd, which IOCB_FLAG_RESFD then lets their completions signal. */
  readonly signals: boolean;
  /** The ring, or null where it cannot be read from here: then `getEvents` is the only way. */
  readonly ring: EventRing | null;
  /** What `getEvents` took, {@link EVENT_WORDS} each. */
  readonly events: Int32Array;
  /** io_submit(2) of the first `count` entries: how many the kernel took, or −errno when it took none. */
  submit(count: number): number;
  /** io_getevents(2) without a time-out: takes at least `min` completions and as many as fit; −errno. */
  getEvents(min: number): number;
  /** Signals the eventfd by hand. */
  signal(): void;
}

/** How a context is set up. */
interface AioContextOptions {
  /** Requests with the kernel at most: counts against fs.aio-max-nr. */
  readonly entries: number;
  /** Eventfd that completions can signal, or −1. */
  readonly eventFd: number;
  /** Read completions from the ring where that is possible. Default true. */
  readonly readRing?: boolean;
}

type Symbols = Deno.StaticForeignLibraryInterface<typeof LIBAIO_SYMBOLS>;

/** A real context through libaio. Belongs to the Worker that made it. */
export class AioContext implements AioPort {
  readonly iocbs: Int32Array<ArrayBuffer>;
  readonly capacity: number;
  readonly signals: boolean;
  readonly ring: EventRing | null;
  readonly events: Int32Array<ArrayBuffer>;
  readonly #lib: Symbols;
  readonly #context: Deno.PointerObject;
  readonly #entryMemory: AlignedMemory;
  readonly #tableMemory: AlignedMemory;
  readonly #eventMemory: AlignedMemory;
  readonly #table: Deno.PointerObject;
  readonly #eventsPointer: Deno.PointerObject;
  readonly #eventFd: number;
  readonly #atExit: ExitCall;
  #closed = false;

  /** Sets a context up. Throws StorageError with the errno of io_setup(2), or `library`. */
  constructor({ entries, eventFd, readRing = true }: AioContextOptions) {
    using stack = new DisposableStack();
    const { symbols, foundAs } = loadLibrary(LIBAIO, LIBAIO_SYMBOLS);
    this.#lib = symbols;
    this.capacity = entries;
    this.signals = eventFd >= 0;
    this.#eventFd = eventFd;
    this.#entryMemory = stack.use(new AlignedMemory(entries * IOCB.byteLength));
    this.#tableMemory = stack.use(new AlignedMemory(entries * POINTER_BYTES));
    this.#eventMemory = stack.use(new AlignedMemory(entries * IO_EVENT.byteLength));
    this.iocbs = this.#entryMemory.words;
    this.events = this.#eventMemory.words;
    this.#table = this.#tableMemory.pointer;
    this.#eventsPointer = this.#eventMemory.pointer;
    writeTable(this.#tableMemory.words, this.#entryMemory, entries);
    prepareEntries(this.iocbs, entries, eventFd);
    const handle = new BigUint64Array(1);
    const result = symbols.io_setup(entries, new Uint8Array(handle.buffer));
    if (result < 0) throw setupError(-result);
    this.#context = Deno.UnsafePointer.create(handle[0]!)!;
    // It waits for what is in flight, so that nothing is written to memory that is unmapped afterwards.
    this.#atExit = ownQueue(foundAs, "io_destroy", handle[0]!);
    stack.defer(() => {
      this.#atExit.drop();
      symbols.io_destroy_now(this.#context);
    });
    this.ring = readRing ? mapRing(this.#context) : null;
    stack.move();
  }

  submit(count: number): number {
    return this.#lib.io_submit(this.#context, long(count), this.#table);
  }

  getEvents(min: number): number {
    return this.#lib.io_getevents(this.#context, long(min), long(this.capacity), this.#eventsPointer, null);
  }

  signal(): void {
    signalEventFd(this.#eventFd);
  }

  /**
   * Takes the context down. Only with nothing in flight: the kernel would wait for it. On another thread, because the
   * kernel takes tens of milliseconds for it in any case. Views of the ring have length 0 from the start.
   */
  async close(): Promise<void> {
    if (!this.#letGo()) return;
    const result = await this.#lib.io_destroy(this.#context);
    tearDown(() => this.#freeMemory(), () => {
      if (result < 0) throw new StorageError({ kind: "io", op: "destroy", target: LINUX_AIO, errno: -result });
    });
  }

  /** The same where no caller waits for it, nor is told: it fails for a context only that is not there. */
  closeUnheard(): void {
    if (!this.#letGo()) return;
    if (!startThread(this.#lib.io_destroy_function!, this.#context)) void this.#lib.io_destroy(this.#context);
    // With nothing in flight the kernel looks at neither of them any more.
    this.#freeMemory();
  }

  /** Ends the use of the context; false when that was done before. */
  #letGo(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    const { ring } = this;
    if (ring !== null && !(ring.words.buffer as ArrayBuffer).detached) (ring.words.buffer as ArrayBuffer).transfer();
    this.#atExit.drop();
    return true;
  }

  #freeMemory(): void {
    const memories = [this.#entryMemory, this.#tableMemory, this.#eventMemory];
    tearDown(...memories.map((memory) => () => memory[Symbol.dispose]()));
  }
}

/** Small numbers as pointers, each made once. */
const longs: Deno.PointerValue[] = [null];

/** A count as the pointer-wide value that the symbol table declares. */
function long(count: number): Deno.PointerValue {
  return longs[count] ?? newLong(count);
}

function newLong(count: number): Deno.PointerValue {
  // Without gaps: an array with holes is slower to read.
  while (longs.length <= count) longs.push(Deno.UnsafePointer.create(BigInt(longs.length)));
  return longs[count]!;
}

/** What errors of set-up and teardown are about. */
const LINUX_AIO = "linux_aio";

function setupError(errno: number): StorageError {
  const short = errno === Errno.EAGAIN || errno === Errno.ENOMEM;
  return new StorageError({ kind: short ? "resource" : "unsupported", op: "set up", target: LINUX_AIO, errno });
}

/** The array of pointers that io_submit(2) takes: entry `i` stands at place `i`, always. */
function writeTable(words: Int32Array, entries: AlignedMemory, count: number): void {
  const view = new BigInt64Array(words.buffer);
  const first = Deno.UnsafePointer.value(entries.pointer);
  for (let index = 0; index < count; index++) view[index] = first + BigInt(index * IOCB.byteLength);
}

/** Writes what is the same in all entries: memory is zeroed, so only the eventfd is left. */
function prepareEntries(iocbs: Int32Array, count: number, eventFd: number): void {
  if (eventFd < 0) return;
  for (let index = 0; index < count; index++) iocbs[index * IOCB_WORDS + wordIndex(IOCB, "eventFd")] = eventFd;
}

/** True for a header that says what this code understands. Words are those of the mapping's start. */
export function isReadableRing(header: Int32Array): boolean {
  return (header[AIO_RING.magic]! >>> 0) === AIO_RING_MAGIC &&
    (header[AIO_RING.incompatibleFeatures]! & ~KNOWN_INCOMPATIBLE_FEATURES) === 0 &&
    header[AIO_RING.headerBytes] === AIO_RING.headerWords * 4 &&
    header[AIO_RING.count]! > 0;
}

/** The ring at the address of the context, or null for one that this code does not understand. */
function mapRing(context: Deno.PointerObject): EventRing | null {
  // A copy: two buffers over one address would be one too many.
  const header = new Int32Array(AIO_RING.headerWords);
  new Deno.UnsafePointerView(context).copyInto(header);
  if (!isReadableRing(header)) return null;
  const count = header[AIO_RING.count]!;
  const byteLength = AIO_RING.headerWords * 4 + count * IO_EVENT.byteLength;
  return {
    words: new Int32Array(Deno.UnsafePointerView.getArrayBuffer(context, byteLength)),
    headAt: AIO_RING.head,
    tailAt: AIO_RING.tail,
    eventsAt: AIO_RING.headerWords,
    count,
  };
}
