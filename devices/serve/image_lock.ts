import { StorageError } from "../../core/base/errors.ts";
import { Errno, errnoName } from "../../core/base/errno.ts";
import { byteIsLocked, lockByte, type LockHolder, lockHolders } from "../../ffi/file_lock.ts";

/**
 * What a program does with an image, and what it lets others do meanwhile: the permissions of QEMU's block layer. Each has
 * a number, and two bytes of the file, locked for as long as the image is open (file-posix.c).
 */
const Permission = { consistentRead: 0, write: 1 } as const;

/** Byte that is locked by who uses a permission, plus its number: RAW_LOCK_PERM_BASE of QEMU. */
const USED_BASE = 100;

/** Byte that is locked by who lets no other use a permission, plus its number: RAW_LOCK_SHARED_BASE of QEMU. */
const UNSHARED_BASE = 200;

/** Words for a permission that another program keeps for itself. */
const KEPT: Readonly<Record<number, string>> = {
  [Permission.consistentRead]: "lets no other program read it",
  [Permission.write]: "lets no other program write to it",
};

/** What a served disk does with its image, and what no other may do: as a virtio-blk disk of QEMU. */
function wishes(readOnly: boolean): { readonly used: readonly number[]; readonly unshared: readonly number[] } {
  const { consistentRead, write } = Permission;
  return { used: readOnly ? [consistentRead] : [consistentRead, write], unshared: [write] };
}

/**
 * Locks the open image for as long as `fd` is open. Throws StorageError of kind `open` when another program has it in a
 * way that does not go together with this one. Returns why it cannot be locked at all, or null.
 */
export function lockImage(fd: number, target: string, readOnly: boolean): string | null {
  const { used, unshared } = wishes(readOnly);
  // First all locks, then a look for those of others: of two who come at the same time, one sees the other.
  for (const byte of [...used.map((each) => USED_BASE + each), ...unshared.map((each) => UNSHARED_BASE + each)]) {
    const errno = lockByte(fd, byte);
    if (errno === Errno.EAGAIN || errno === Errno.EACCES) {
      throw inUse(fd, byte, target, `has it locked for itself (${errnoName(errno)})`);
    }
    if (errno !== 0) return `its file system has no locks (${errnoName(errno)})`;
  }
  for (const each of unshared) check(fd, USED_BASE + each, target, "writes to it");
  for (const each of used) check(fd, UNSHARED_BASE + each, target, KEPT[each]!);
  return null;
}

function check(fd: number, byte: number, target: string, what: string): void {
  if (byteIsLocked(fd, byte).locked) throw inUse(fd, byte, target, what);
}

function inUse(fd: number, byte: number, target: string, what: string): StorageError {
  return new StorageError({
    kind: "open",
    op: "serve",
    target,
    detail: `${nameHolders(lockHolders(fd, byte))} ${what}; wanted it for this server alone, ` +
      "or --no-lock (lock: false) where that is meant",
  });
}

function nameHolders(holders: readonly LockHolder[]): string {
  const [first] = holders;
  if (first === undefined) return "a program that this user may not see";
  if (first.pid === Deno.pid) return `another server of this process (${first.pid})`;
  return `${first.program || "a program"} (process ${first.pid})`;
}
