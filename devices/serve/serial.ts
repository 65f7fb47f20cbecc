import { createHash } from "node:crypto";
import type { BlockDevice } from "../../core/device/block_device.ts";
import { readLink } from "../../ffi/libc/mod.ts";
import { MAX_SERIAL_BYTES } from "../virtio_blk/mod.ts";

/** What a serial begins with that was not chosen. */
const PREFIX = "plugio-";

/**
 * A serial number for a disk that was given none: another for each file, device or address, and always the same for one,
 * whatever name it was opened by.
 */
export function defaultSerial({ fileFd, target }: Pick<BlockDevice, "fileFd" | "target">): string {
  const name = fileFd < 0 ? target : readLink(`/proc/self/fd/${fileFd}`) ?? target;
  const hash = createHash("sha256").update(name).digest().readBigUInt64BE();
  const room = MAX_SERIAL_BYTES - PREFIX.length;
  return PREFIX + hash.toString(36).padStart(room, "0").slice(-room);
}
