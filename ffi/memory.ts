import { PAGE_BYTES } from "../core/base/sizes.ts";
import type { MemorySource, OwnedMemory } from "../core/base/memory.ts";
import { StorageError } from "../core/base/errors.ts";
import { invariant } from "../core/base/invariant.ts";
import { tearDown } from "../core/base/teardown.ts";
import { bufferOf } from "../core/base/views.ts";
import { newSharedFile } from "./shared_memory.ts";
import { closeFile, lastErrno, libc, LIBC_CONSTANTS as C } from "./libc/mod.ts";
import { type ExitCall, ownMapping } from "./thread_exit.ts";

/** Memory by its ArrayBuffer: how the address behind a view is found without asking V8 for a pointer per I/O. */
const regions = new WeakMap<ArrayBufferLike, NativeMemory>();

/** What kind of memory is mapped. */
interface MemoryOptions {
  /** Back it by a file in memory, whose descriptor other processes can map. Default false. */
  readonly shared?: boolean;
}

/**
 * Memory outside of the JavaScript heap that a kernel may write to at any time, and its only ArrayBuffer.
 *
 * It belongs to this object, not to the garbage collector: it stays until `dispose`, which refuses while requests hold
 * it. Disposing detaches the ArrayBuffer first, so that views left behind have length 0 instead of pointing at nothing.
 * A buffer that the caller transferred away cannot be detached here: what it points at is then lost on purpose.
 */
export abstract class NativeMemory implements OwnedMemory {
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly byteLength: number;
  registeredIndex = -1;
  registeredWith: unknown = null;
  holds = 0;
  #pointer: Deno.PointerObject | null;
  #buffer: ArrayBuffer;
  #bytes: Uint8Array<ArrayBuffer>;
  #words: Int32Array<ArrayBuffer>;

  /** Takes ownership of `byteLength` bytes at `pointer`, whole words. */
  constructor(pointer: Deno.PointerObject, byteLength: number) {
    const address = Deno.UnsafePointer.value(pointer);
    this.byteLength = byteLength;
    this.#pointer = pointer;
    this.addressLow = Number(BigInt.asIntN(32, address));
    this.addressHigh = Number(BigInt.asIntN(32, address >> 32n));
    this.#buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength);
    this.#bytes = new Uint8Array(this.#buffer);
    this.#words = new Int32Array(this.#buffer);
    regions.set(this.#buffer, this);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  get words(): Int32Array<ArrayBuffer> {
    return this.#words;
  }

  /** True after `dispose`. */
  get disposed(): boolean {
    return this.#pointer === null;
  }

  /** The pointer, for calls that take one. Valid until `dispose`. */
  get pointer(): Deno.PointerObject {
    if (this.#pointer !== null) return this.#pointer;
    throw new StorageError({ kind: "closed", op: "use", target: this.constructor.name });
  }

  /** Detaches and gives back; harmless when done twice. Throws an InvariantError while a request holds the memory. */
  [Symbol.dispose](): void {
    const pointer = this.#pointer;
    if (pointer === null) return;
    invariant(this.holds === 0, `Cannot free memory that ${this.holds} requests hold: wait for their completion first`);
    this.#pointer = null;
    regions.delete(this.#buffer);
    const lost = this.#buffer.detached;
    if (!lost) this.#buffer.transfer();
    this.giveBack(pointer, lost);
  }

  /** Gives the memory back to where it came from, unless it is `lost`: views of a transferred buffer are alive. */
  protected abstract giveBack(pointer: Deno.PointerObject, lost: boolean): void;
}

/** A mapping of its own: page-aligned, zeroed, whole pages. */
export class AlignedMemory extends NativeMemory {
  /** Descriptor of the file behind shared memory, open until `dispose`; −1 for memory of this process alone. */
  readonly fd: number;
  readonly #atExit: ExitCall;

  /** Maps at least `byteLength` zeroed bytes, whole pages, present in memory from the start. */
  constructor(byteLength: number, { shared = false }: MemoryOptions = {}) {
    if (!Number.isSafeInteger(byteLength) || byteLength <= 0) {
      throw new RangeError(`Cannot allocate ${byteLength} bytes: wanted a whole number above 0`);
    }
    const mappedBytes = Math.ceil(byteLength / PAGE_BYTES) * PAGE_BYTES;
    const fd = shared ? newSharedFile("plugio", mappedBytes) : -1;
    super(mapPages(mappedBytes, fd), mappedBytes);
    this.fd = fd;
    this.#atExit = ownMapping(Deno.UnsafePointer.value(this.pointer), mappedBytes);
  }

  protected override giveBack(pointer: Deno.PointerObject, lost: boolean): void {
    tearDown(() => this.fd >= 0 && closeFile(this.fd, "memory file"), () => lost || this.#unmap(pointer));
  }

  #unmap(pointer: Deno.PointerObject): void {
    this.#atExit.drop();
    if (libc().munmap(pointer, BigInt(this.byteLength)) < 0) {
      throw new StorageError({ kind: "resource", op: "unmap", target: "memory", errno: lastErrno() });
    }
  }
}

/** Maps `byteLength` bytes of the file `fd`, or of no file; closes the file when that fails. */
function mapPages(byteLength: number, fd: number): Deno.PointerObject {
  const sharing = fd >= 0 ? C.MAP_SHARED.value : C.MAP_PRIVATE.value | C.MAP_ANONYMOUS.value;
  const prot = C.PROT_READ.value | C.PROT_WRITE.value;
  const pointer = libc().mmap(null, BigInt(byteLength), prot, sharing | C.MAP_POPULATE.value, fd, 0n);
  if (pointer !== null && Deno.UnsafePointer.value(pointer) < 0xffff_ffff_ffff_f000n) return pointer;
  const errno = lastErrno();
  if (fd >= 0) closeFile(fd, "memory file");
  throw new StorageError({ kind: "resource", op: "allocate", target: `${byteLength} bytes of memory`, errno });
}

let lastBuffer: ArrayBufferLike | null = null;
let lastRegion: NativeMemory | null = null;

/** The region that `view` lies in, or null for memory that plugio did not hand out. */
export function regionOf(view: Uint8Array): NativeMemory | null {
  const buffer = bufferOf(view);
  // Buffers handed out together share one ArrayBuffer, so the last answer is nearly always the next one.
  if (buffer === lastBuffer && lastRegion !== null && !lastRegion.disposed) return lastRegion;
  const region = regions.get(buffer) ?? null;
  if (region !== null) {
    lastBuffer = buffer;
    lastRegion = region;
  }
  return region;
}

/** Throws a RangeError for an alignment that mapped memory does not have. */
export function checkAlignment(alignment: number): void {
  if (alignment <= PAGE_BYTES) return;
  throw new RangeError(`Cannot align memory to ${alignment} bytes: wanted at most ${PAGE_BYTES}`);
}

/** Memory by mmap(2): what drivers with a kernel behind them use. */
export const pageMemory: MemorySource = {
  allocate: (byteLength: number, alignment: number): OwnedMemory => {
    checkAlignment(alignment);
    return new AlignedMemory(byteLength);
  },
  regionOf,
};
