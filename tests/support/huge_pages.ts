/** Huge pages for tests, which the machine reserves for as long as they run. */
import {
  closeFile,
  libc,
  LIBC_CONSTANTS as C,
  mayAccess,
  readTextFile,
  truncateFile,
  writeTextFile,
} from "../../ffi/libc/mod.ts";

/** Bytes of a huge page on x86-64, and on aarch64 with pages of 4 KiB. */
export const HUGE_PAGE_BYTES: number = 2 << 20;

const RESERVED = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const FREE = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

/** MFD_HUGETLB of linux/memfd.h. */
const MFD_HUGETLB = 4;

/** Whether there can be huge pages of 2 MiB. */
export function hasHugePages(): true | string {
  return mayAccess(RESERVED, "write") || "this user may not reserve huge pages of 2 MiB";
}

function count(path: string): number {
  return Number(readTextFile(path, 64));
}

/** A memory file of `pages` huge pages. */
export class HugeFile implements Disposable {
  readonly fd: number;
  readonly #added: number;

  constructor(pages: number) {
    this.#added = pages;
    writeTextFile(RESERVED, String(count(RESERVED) + pages));
    if (count(FREE) < pages) throw new Error("The machine has no room for huge pages");
    this.fd = libc().memfd_create(new TextEncoder().encode("huge\0"), C.MFD_CLOEXEC.value | MFD_HUGETLB);
    truncateFile(this.fd, pages * HUGE_PAGE_BYTES, "huge");
  }

  /** Huge pages that are not in use. */
  get free(): number {
    return count(FREE);
  }

  [Symbol.dispose](): void {
    closeFile(this.fd, "huge");
    writeTextFile(RESERVED, String(Math.max(0, count(RESERVED) - this.#added)));
  }
}
