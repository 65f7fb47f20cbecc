import { PAGE_BYTES } from "../core/base/sizes.ts";
import { END, ENTRY_WORDS, exitCode } from "./exit_code.ts";
import { LIBC, LIBC_SYMBOLS } from "./libc/symbols.ts";
import { LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { loadLibrary } from "./loader.ts";

/**
 * What a Worker gives back when it is terminated: descriptors, kernel queues and mappings, by native calls at the end of
 * its thread, because its JavaScript ends without another line.
 *
 * The calls stand in a table of native memory. glibc runs it when the thread ends (`__cxa_thread_atexit_impl`): queues
 * are taken down, then descriptors closed. Memory is unmapped by a short thread that waits until the kernel is done with
 * the one that ended: until then work of io_uring on behalf of that thread may still write there by address, and another
 * thread could have got the same address meanwhile. What the kernel does later, it does to pages that it holds itself.
 *
 * Whatever is given back in the usual way is taken out of the table first: a number or an address that is given back
 * twice may be another thread's by then. Only Workers have tables: the main thread ends with the process, and `deno test`
 * runs module after module on threads of a pool, which outlive what they opened by seconds.
 *
 * @module
 */

type Symbols = Deno.StaticForeignLibraryInterface<typeof LIBC_SYMBOLS>;

/** Entries of the three tables: queues, descriptors, mappings. What exceeds them is lost when the Worker is terminated. */
const QUEUE_ENTRIES = 256;
const DESCRIPTOR_ENTRIES = 4096;
const MAPPING_ENTRIES = 4096;

/** Stack of the thread that unmaps: it makes system calls and nothing else. */
const STACK_BYTES = 64 * 1024;

/** Room for a pthread_attr_t (64 bytes at most), a pthread_t and a sigset_t (128 bytes), in words. */
const ATTR_WORDS = 16;
const SIGSET_WORDS = 16;

/** Waits for the end of the thread: more than one, because a signal ends a wait. Signals are blocked, so that none does. */
const WAITS = 3;

/** One table: entries of {@link ENTRY_WORDS}, and behind the last one that was ever used where to go on. */
class CallTable {
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #free: number[] = [];
  readonly #capacity: number;
  readonly #then: readonly [a: bigint, b: bigint, run: bigint];
  #used = 0;

  /** An empty table in `words`, at whose end `then` is called: its two arguments and the function. */
  constructor(words: BigUint64Array<ArrayBuffer>, then: readonly [bigint, bigint, bigint]) {
    this.#words = words;
    this.#capacity = words.length / ENTRY_WORDS - 1;
    this.#then = then;
    this.#end(0);
  }

  /** Adds a call; its place, or −1 where the table is full. */
  add(run: bigint, args: readonly bigint[]): number {
    let index = this.#free.pop() ?? -1;
    if (index < 0) {
      if (this.#used === this.#capacity) return -1;
      index = this.#used++;
      this.#end(index + 1);
    }
    const at = index * ENTRY_WORDS;
    // The function last: the thread may end between any two of these, and then the entry counts or does not.
    this.#words[at] = 0n;
    for (let word = 1; word < ENTRY_WORDS; word++) this.#words[at + word] = args[word - 1] ?? 0n;
    this.#words[at] = run;
    return index;
  }

  /** Takes a call out. */
  remove(index: number): void {
    this.#words[index * ENTRY_WORDS] = 0n;
    this.#free.push(index);
  }

  #end(index: number): void {
    const at = index * ENTRY_WORDS;
    this.#then.forEach((word, offset) => this.#words[at + 1 + offset] = word);
    this.#words[at] = END;
  }
}

/** The tables of one Worker. */
interface ThreadTables {
  readonly queues: CallTable;
  readonly descriptors: CallTable;
  readonly mappings: CallTable;
  /** Address of a function of libc, or of a library that is open. */
  address(name: string, library?: string): bigint;
}

/** Undefined until they are asked for; null outside of Workers, and where the platform lacks what it takes. */
let tables: ThreadTables | null | undefined;

/** Descriptors of this Worker that are in the table, with their places. */
const descriptors = new Map<number, number>();

/** Something that is given back at the end of the thread, unless that was done before. */
export interface ExitCall {
  /** Takes it out; to be called before it is given back in the usual way. Idempotent. */
  drop(): void;
}

const NOTHING: ExitCall = { drop() {} };

/** Closes `fd` when the thread ends, unless {@link disownDescriptor} comes first. Returns `fd`. */
export function ownDescriptor(fd: number): number {
  const all = threadTables();
  if (all === null || fd < 0) return fd;
  const index = all.descriptors.add(all.address("close"), [BigInt(fd)]);
  if (index >= 0) descriptors.set(fd, index);
  return fd;
}

/** The descriptor is closed next, or another owner closes it from now on. */
export function disownDescriptor(fd: number): void {
  if (descriptors.size === 0) return;
  const index = descriptors.get(fd);
  if (index === undefined) return;
  descriptors.delete(fd);
  tables!.descriptors.remove(index);
}

/** Unmaps memory after the end of the thread. */
export function ownMapping(address: bigint, byteLength: number): ExitCall {
  const all = threadTables();
  if (all === null) return NOTHING;
  return callIn(all.mappings, all.address("munmap"), [address, BigInt(byteLength)]);
}

/**
 * Calls a function of a library when the thread ends, before descriptors are closed: `library` is what it was found as.
 * For what the kernel or the library waits for by itself until nothing of it is in flight, or that needs no memory.
 */
export function ownQueue(library: string, name: string, argument: bigint): ExitCall {
  const all = threadTables();
  if (all === null) return NOTHING;
  return callIn(all.queues, all.address(name, library), [argument]);
}

/**
 * Calls a function of libc when the thread ends, before descriptors are closed: for what belongs to the kernel alone, and
 * for what another thread of the process waits for on behalf of this one, and would for ever.
 */
export function ownCall(name: "shutdown" | "write" | "syscall", args: readonly bigint[]): ExitCall {
  const all = threadTables();
  return all === null ? NOTHING : callIn(all.queues, all.address(name), args);
}

function callIn(table: CallTable, run: bigint, args: readonly bigint[]): ExitCall {
  let index = run === 0n ? -1 : table.add(run, args);
  return {
    drop() {
      if (index >= 0) table.remove(index);
      index = -1;
    },
  };
}

function threadTables(): ThreadTables | null {
  return tables === undefined ? tables = openTables() : tables;
}

/** Whether the thread ends with the JavaScript that runs in it. */
function isWorker(): boolean {
  return "DedicatedWorkerGlobalScope" in globalThis;
}

function openTables(): ThreadTables | null {
  if (!isWorker()) return null;
  const code = exitCode();
  if (code === null) return null;
  const lib = loadLibrary(LIBC, LIBC_SYMBOLS).symbols;
  if (lib.gettid === null) return null;
  const { pthread_attr_init, __cxa_thread_atexit_impl } = lib;
  // glibc before 2.34 has these calls in other libraries.
  if (lib.dlsym === null || lib.dlopen === null || pthread_attr_init === null || __cxa_thread_atexit_impl === null) {
    return null;
  }
  // Where the kernel writes 0, and wakes who waits there, when it is done with the thread (set_tid_address(2)).
  const tidAddress = new BigUint64Array(1);
  if (lib.prctl(C.PR_GET_TID_ADDRESS.value, new Uint8Array(tidAddress.buffer), 0n, 0n, 0n) < 0) return null;
  return new TableBuilder(lib, code).build(tidAddress[0]!, lib.gettid());
}

/** Lays the tables and the code out in one mapping: it is unmapped last, by the code in it. */
class TableBuilder {
  readonly #lib: Symbols;
  readonly #code: Uint8Array<ArrayBuffer>;
  readonly #addresses = new Map<string, bigint>();

  constructor(lib: Symbols, code: Uint8Array<ArrayBuffer>) {
    this.#lib = lib;
    this.#code = code;
  }

  build(tidAddress: bigint, tid: number): ThreadTables | null {
    const lib = this.#lib;
    const sizes = [QUEUE_ENTRIES, DESCRIPTOR_ENTRIES, PAGE_BYTES / 8 / ENTRY_WORDS, MAPPING_ENTRIES];
    const byteLength = 2 * PAGE_BYTES + sizes.reduce((sum, entries) => sum + entries * ENTRY_WORDS * 8, 0);
    const readWrite = C.PROT_READ.value | C.PROT_WRITE.value;
    const region = lib.mmap(null, BigInt(byteLength), readWrite, C.MAP_PRIVATE.value | C.MAP_ANONYMOUS.value, -1, 0n);
    const base = Deno.UnsafePointer.value(region);
    if (region === null || base >= 0xffff_ffff_ffff_f000n) return null;
    const buffer = Deno.UnsafePointerView.getArrayBuffer(region, byteLength);
    new Uint8Array(buffer).set(this.#code);
    const attr = base + BigInt(PAGE_BYTES);
    // The JIT of the engine does the same: where Deno runs, code can be made.
    if (
      lib.mprotect(region, BigInt(PAGE_BYTES), C.PROT_READ.value | C.PROT_EXEC.value) < 0 || !this.#prepareThread(attr)
    ) {
      lib.munmap(region, BigInt(byteLength));
      return null;
    }
    let offset = 2 * PAGE_BYTES;
    const [queuesAt, descriptorsAt, startAt, mappingsAt] = sizes.map((entries) => {
      const at = offset;
      offset += entries * ENTRY_WORDS * 8;
      return at;
    }) as [number, number, number, number];
    const words = (at: number, entries: number) => new BigUint64Array(buffer, at, entries * ENTRY_WORDS);
    const address = (at: number) => base + BigInt(at);
    const nothing = [0n, 0n, this.address("getpid")] as const;
    const mappings = new CallTable(words(mappingsAt, MAPPING_ENTRIES), [
      base,
      BigInt(byteLength),
      this.address("munmap"),
    ]);
    const futex = [BigInt(C.SYS_futex.value), tidAddress, 0n, BigInt(tid), 0n];
    for (let wait = 0; wait < WAITS; wait++) mappings.add(this.address("syscall"), futex);
    const start = new CallTable(words(startAt, sizes[2]!), nothing);
    const signals = attr + BigInt(ATTR_WORDS * 8);
    start.add(this.address("pthread_sigmask"), [BigInt(C.SIG_BLOCK.value), signals, 0n]);
    const thread = signals + BigInt(SIGSET_WORDS * 8);
    start.add(this.address("pthread_create"), [thread, attr, base, address(mappingsAt)]);
    const descriptorTable = new CallTable(words(descriptorsAt, DESCRIPTOR_ENTRIES), [address(startAt), 0n, base]);
    const queues = new CallTable(words(queuesAt, QUEUE_ENTRIES), [address(descriptorsAt), 0n, base]);
    const queuesPointer = Deno.UnsafePointer.create(address(queuesAt));
    if (lib.__cxa_thread_atexit_impl!(region, queuesPointer, null) !== 0) return null;
    return { queues, descriptors: descriptorTable, mappings, address: (name, library) => this.address(name, library) };
  }

  /** The attributes of the thread that unmaps, and a set of all signals behind them. */
  #prepareThread(attr: bigint): boolean {
    const lib = this.#lib;
    const pointer = Deno.UnsafePointer.create(attr)!;
    const signals = new BigUint64Array(
      Deno.UnsafePointerView.getArrayBuffer(pointer, SIGSET_WORDS * 8, ATTR_WORDS * 8),
    );
    signals.fill(0xffff_ffff_ffff_ffffn);
    return lib.pthread_attr_init!(pointer) === 0 &&
      lib.pthread_attr_setdetachstate!(pointer, C.PTHREAD_CREATE_DETACHED.value) === 0 &&
      lib.pthread_attr_setstacksize!(pointer, BigInt(STACK_BYTES)) === 0;
  }

  address(name: string, library?: string): bigint {
    const key = `${library ?? ""} ${name}`;
    let found = this.#addresses.get(key);
    if (found === undefined) {
      const flags = C.RTLD_NOW.value | C.RTLD_NOLOAD.value;
      const handle = library === undefined ? null : this.#lib.dlopen!(cName(library), flags);
      // A null handle is the whole process, where a library of our own is not to be looked for.
      found = library !== undefined && handle === null
        ? 0n
        : Deno.UnsafePointer.value(this.#lib.dlsym!(handle, cName(name)));
      this.#addresses.set(key, found);
    }
    return found;
  }
}

function cName(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}
