import { PAGE_BYTES } from "../core/base/sizes.ts";
import type { OwnedMemory } from "../core/base/memory.ts";
import { StorageError } from "../core/base/errors.ts";
import { invariant } from "../core/base/invariant.ts";
import { closeFile, lastErrno, libc, LIBC_CONSTANTS as C, statFile, truncateFile } from "./libc/mod.ts";
import { type ExitCall, ownDescriptor, ownMapping } from "./thread_exit.ts";

/** Alignment in bytes that rings inside of the memory need: 64-bit words. */
const WORD_BYTES = 8;

/** Which part of a shared file is mapped. */
interface SharedRange {
  /** Descriptor of the memory file; it may be closed once it is mapped. */
  readonly fd: number;
  /** First byte in the file; a multiple of 8. */
  readonly fileOffset: number;
  /** Bytes. */
  readonly byteLength: number;
  /** What it is, for messages. */
  readonly name: string;
}

/**
 * Memory of another owner, shared through a file descriptor: that of a virtual machine. The same rules as for memory of
 * our own: it stays mapped until `dispose`, which refuses while requests hold it and detaches the views first.
 */
export class SharedMemory implements OwnedMemory {
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly byteLength: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Int32Array<ArrayBuffer>;
  registeredIndex = -1;
  registeredWith: unknown = null;
  holds = 0;
  /** True when the other side has promised not to shrink the file: reading what is gone would end this process. */
  readonly sealed: boolean;
  #mapping: Deno.PointerObject | null;
  readonly #mappedBytes: number;
  readonly #atExit: ExitCall;

  /** Maps the range, readable and writable. Throws StorageError, also for a range beyond the end of the file. */
  constructor({ fd, fileOffset, byteLength, name }: SharedRange) {
    const pageBytes = assertInside({ fd, fileOffset, byteLength, name });
    // From the start of the file and in whole pages of it: huge ones are mapped rounded up, and unmapped no other way.
    this.#mappedBytes = Math.ceil((fileOffset + byteLength) / pageBytes) * pageBytes;
    const prot = C.PROT_READ.value | C.PROT_WRITE.value;
    // Reserved: huge pages that are not there are refused here, where touching them would end the process.
    const pointer = libc().mmap(null, BigInt(this.#mappedBytes), prot, C.MAP_SHARED.value, fd, 0n);
    const start = Deno.UnsafePointer.value(pointer);
    if (pointer === null || start >= 0xffff_ffff_ffff_f000n) {
      throw new StorageError({ kind: "resource", op: "map", target: name, errno: lastErrno() });
    }
    this.#atExit = ownMapping(start, this.#mappedBytes);
    const address = start + BigInt(fileOffset);
    this.#mapping = pointer;
    this.addressLow = Number(BigInt.asIntN(32, address));
    this.addressHigh = Number(BigInt.asIntN(32, address >> 32n));
    this.byteLength = byteLength;
    const buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength, fileOffset);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer, 0, Math.floor(byteLength / Int32Array.BYTES_PER_ELEMENT));
    // −1 where files have no seals: on everything but tmpfs and hugetlbfs.
    const seals = libc().fcntl(fd, C.F_GET_SEALS.value, 0n);
    this.sealed = seals >= 0 && (seals & C.F_SEAL_SHRINK.value) !== 0;
  }

  /** Detaches and unmaps; harmless when done twice. Throws an InvariantError while a request holds the memory. */
  [Symbol.dispose](): void {
    const pointer = this.#mapping;
    if (pointer === null) return;
    invariant(
      this.holds === 0,
      `Cannot unmap memory that ${this.holds} requests hold: wait for their completion first`,
    );
    this.#mapping = null;
    if (this.bytes.buffer.detached) return;
    this.bytes.buffer.transfer();
    this.#atExit.drop();
    if (libc().munmap(pointer, BigInt(this.#mappedBytes)) < 0) {
      throw new StorageError({ kind: "resource", op: "unmap", target: "shared memory", errno: lastErrno() });
    }
  }
}

/**
 * Touching a page behind the end of the file is SIGBUS, which nothing here could catch: such a range is refused. Returns
 * the bytes that a mapping has to be a multiple of: for huge pages the size of one, which is the block size of their files.
 */
function assertInside({ fd, fileOffset, byteLength, name }: SharedRange): number {
  const end = fileOffset + byteLength;
  const usable = Number.isSafeInteger(end) && fileOffset >= 0 && byteLength > 0 && fileOffset % WORD_BYTES === 0;
  const { size, type, blockSize } = statFile(fd, name);
  if (usable && type === C.S_IFREG.value && end <= size) {
    return blockSize > 0 && blockSize % PAGE_BYTES === 0 ? blockSize : PAGE_BYTES;
  }
  throw new StorageError({
    kind: "resource",
    op: "map",
    target: name,
    detail: `${byteLength} bytes from byte ${fileOffset} on, of a file of ${size} bytes; wanted a part of a regular ` +
      "file that starts at a multiple of 8",
  });
}

/** A new memory file of `byteLength` zero bytes that cannot shrink; returns its descriptor. Throws StorageError. */
export function newSharedFile(name: string, byteLength: number): number {
  const flags = C.MFD_CLOEXEC.value | C.MFD_ALLOW_SEALING.value;
  const fd = libc().memfd_create(new TextEncoder().encode(name + "\0"), flags);
  if (fd < 0) throw new StorageError({ kind: "resource", op: "create", target: name, errno: lastErrno() });
  ownDescriptor(fd);
  try {
    truncateFile(fd, byteLength, name);
    if (libc().fcntl(fd, C.F_ADD_SEALS.value, BigInt(C.F_SEAL_SHRINK.value)) < 0) {
      throw new StorageError({ kind: "resource", op: "seal", target: name, errno: lastErrno() });
    }
  } catch (error) {
    closeFile(fd, name);
    throw error;
  }
  return fd;
}
