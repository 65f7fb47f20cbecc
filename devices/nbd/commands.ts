import { Errno } from "../../core/base/errno.ts";
import { Command, CommandFlag, ExportFlag } from "../../core/nbd/protocol.ts";
import type { RequestHead } from "../../core/nbd/request_head.ts";
import type { ServedExport } from "../../core/nbd/server_handshake.ts";
import { MAX_PAYLOAD_BYTES } from "./job_pool.ts";
import { STATUS_BYTES } from "./status.ts";

/** Flags that each command may have. */
const KNOWN_FLAGS: Readonly<Record<number, number>> = {
  [Command.read]: CommandFlag.df | CommandFlag.fua,
  [Command.write]: CommandFlag.fua | CommandFlag.payloadLength,
  [Command.flush]: CommandFlag.fua,
  [Command.trim]: CommandFlag.fua,
  [Command.writeZeroes]: CommandFlag.fua | CommandFlag.noHole,
  [Command.blockStatus]: CommandFlag.fua | CommandFlag.reqOne,
};

/** Commands that change the disk. */
const WRITES: readonly number[] = [Command.write, Command.trim, Command.writeZeroes];

/** Whether a payload stands behind a header: what is refused has to be read, too. */
export function isFollowedByPayload({ command, flags }: RequestHead): boolean {
  return command === Command.write || (flags & CommandFlag.payloadLength) !== 0;
}

/** Bytes of memory that a good request needs. */
export function memoryBytesOf({ command, length }: RequestHead): number {
  if (command === Command.blockStatus) return STATUS_BYTES;
  return command <= Command.write ? length : 0;
}

/** Why a request cannot be started, as an errno; 0 for a good one. */
export function refusalOf(head: RequestHead, offer: ServedExport, wantsStatus: boolean): number {
  const { command, flags, offset, length } = head;
  const known = KNOWN_FLAGS[command];
  if (known === undefined || (flags & ~known) !== 0) return Errno.EINVAL;
  if (command === Command.flush) return 0;
  if (WRITES.includes(command) && (offer.flags & ExportFlag.readOnly) !== 0) return Errno.EPERM;
  if (command === Command.blockStatus && (!wantsStatus || length === 0)) return Errno.EINVAL;
  if (command === Command.read && length > MAX_PAYLOAD_BYTES) return Errno.EINVAL;
  if (offset > offer.sizeBytes || length > offer.sizeBytes - offset) {
    // As qemu-nbd has it: what would need more space says so.
    return command === Command.write || command === Command.writeZeroes ? Errno.ENOSPC : Errno.EINVAL;
  }
  const unit = offer.minimumBlockBytes;
  return offset % unit === 0 && length % unit === 0 ? 0 : Errno.EINVAL;
}
