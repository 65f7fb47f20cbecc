/**
 * What is behind a name: the same file has many, by links, by mounts and by open descriptors.
 *
 * @module
 */
import type { FileIdentity, LoopBacking } from "../core/base/block.ts";
import { StorageError } from "../core/base/errors.ts";
import {
  closeFile,
  type FileStatus,
  ioctlBuffer,
  LIBC_CONSTANTS as C,
  LOOP_INFO64,
  openFile,
  statPath,
} from "./libc/mod.ts";

/** What tells the file or block device of a status from all others. */
export function identityOf({ type, onDevice, inode, deviceNumber }: FileStatus): FileIdentity {
  return type === C.S_IFBLK.value ? { device: deviceNumber, inode: null } : { device: onDevice, inode: String(inode) };
}

/** What a path leads to, links followed; null where there is nothing, or it may not be looked at. */
export function identify(path: string): FileIdentity | null {
  const status = path === "" ? null : statPath(path);
  return status === null ? null : identityOf(status);
}

/**
 * What the loop device at `path` lies over, as the kernel keeps it: also where the file has another name by now, none at
 * all, or one in another mount namespace. Null where the device may not be opened, or lies over nothing.
 */
export function loopBacking(path: string): LoopBacking | null {
  let fd: number;
  try {
    fd = openFile(path, C.O_RDONLY.value | C.O_NONBLOCK.value);
  } catch (error) {
    if (error instanceof StorageError && error.kind === "open") return null;
    throw error;
  }
  try {
    const info = new Uint8Array(LOOP_INFO64.byteLength);
    ioctlBuffer(fd, C.LOOP_GET_STATUS64.value, info, path);
    return backingOf(new DataView(info.buffer));
  } catch (error) {
    if (error instanceof StorageError) return null;
    throw error;
  } finally {
    closeFile(fd, path);
  }
}

function backingOf(view: DataView): LoopBacking {
  const { device, inode, rdevice, offset, sizeLimit } = LOOP_INFO64.fields;
  const u64 = (at: { readonly offset: number }) => view.getBigUint64(at.offset, true);
  // Only a node of a device has a number of its own there.
  const identity = u64(rdevice) !== 0n
    ? { device: deviceText(u64(rdevice)), inode: null }
    : { device: deviceText(u64(device)), inode: String(u64(inode)) };
  return { identity, offsetBytes: Number(u64(offset)), lengthBytes: Number(u64(sizeLimit)) };
}

/** The kernel's encoding of a device number (`huge_encode_dev` of linux/kdev_t.h) as `major:minor`. */
function deviceText(encoded: bigint): string {
  const major = (encoded >> 8n) & 0xfffn;
  const minor = (encoded & 0xffn) | ((encoded >> 12n) & 0xfff00n);
  return `${major}:${minor}`;
}
