import { closeFile, reopenFile } from "../../ffi/libc/mod.ts";
import type { BlockDevice } from "../../core/device/block_device.ts";
import { refuseOtherFormats } from "./image_format.ts";
import { lockImage } from "./image_lock.ts";

/** What is looked at before an image is served. */
interface ClaimOptions {
  /** Take the locks that QEMU takes, and refuse an image that others have locked. */
  readonly lock: boolean;
  /** `"raw"`: serve the image as it is, whatever it begins with. */
  readonly format: "raw" | null;
  /** Receives a line where there can be no locks. */
  readonly log: (line: string) => void;
}

/** The locks on the image of one device, and how many servers rely on them. */
interface Claim {
  readonly fd: number;
  count: number;
}

const claims = new WeakMap<object, Claim>();

/**
 * Looks whether the image behind `device` may be served, and locks it until the returned function is called. Servers of
 * one device share its locks. A device without a file, such as one in memory, may always be served. Throws StorageError.
 */
export function claimImage(device: BlockDevice, { lock, format, log }: ClaimOptions): () => void {
  if (device.fileFd < 0) return () => {};
  if (format === null) refuseOtherFormats(device);
  if (!lock) return () => {};
  const claim = claims.get(device) ?? { fd: lockedDescriptor(device, log), count: 0 };
  claims.set(device, claim);
  claim.count++;
  let held = true;
  return () => {
    if (!held) return;
    held = false;
    if (--claim.count > 0) return;
    claims.delete(device);
    closeFile(claim.fd, device.target);
  };
}

/**
 * The image, open a second time and locked. The device's own descriptor would not do: its ring keeps that open for a moment
 * after the process was killed, and the next server would find it locked.
 */
function lockedDescriptor(device: BlockDevice, log: ClaimOptions["log"]): number {
  const { target } = device;
  const fd = reopenFile(device.fileFd, target);
  try {
    const failure = lockImage(fd, target, device.info.readOnly);
    if (failure !== null) log(`${target} cannot be locked, and others do not notice that it is served: ${failure}`);
    return fd;
  } catch (error) {
    closeFile(fd, target);
    throw error;
  }
}
