import { Errno } from "../../core/base/errno.ts";
import { Opcode } from "../../core/request/request.ts";

/** What a command ends with: the status byte (SAM-5, 5.3.1). */
export const ScsiStatus = {
  /** Done. */
  good: 0x00,
  /** Sense data says why not. */
  checkCondition: 0x02,
  /** Another host has reserved the disk. */
  reservationConflict: 0x18,
  /** No room for the command now: it is sent again. */
  taskSetFull: 0x28,
} as const;

/** Key, code and qualifier in one number: `0xKKAAQQ`. */
export const Sense = {
  none: 0x00_0000,
  becomingReady: 0x02_0403,
  writeError: 0x03_0c00,
  unrecoveredReadError: 0x03_1100,
  internalFailure: 0x04_4400,
  parameterListLength: 0x05_1a00,
  invalidOperation: 0x05_2000,
  outOfRange: 0x05_2100,
  invalidFieldInCdb: 0x05_2400,
  noUnit: 0x05_2500,
  invalidFieldInParameters: 0x05_2600,
  savingUnsupported: 0x05_3900,
  powerOn: 0x06_2900,
  modeChanged: 0x06_2a01,
  capacityChanged: 0x06_2a09,
  lunsChanged: 0x06_3f0e,
  writeProtected: 0x07_2700,
  spaceExhausted: 0x07_2707,
  timeOut: 0x0b_2e02,
  miscompare: 0x0e_1d00,
} as const;

/** Bytes of sense data in the fixed format. */
export const SENSE_BYTES = 18;
/** And in the descriptor format, without descriptors. */
export const DESCRIPTOR_SENSE_BYTES = 8;

const CURRENT_FIXED = 0x70;
const CURRENT_DESCRIPTOR = 0x72;
const VALID = 0x80;
const ADDITIONAL_BYTES = 10;
const MAX_U32 = 0xffff_ffff;

/** Writes sense data in the fixed format; `information` below 0, or beyond 32 bits, is none. */
export function writeSense(bytes: Uint8Array, at: number, sense: number, information = -1): void {
  bytes.fill(0, at, at + SENSE_BYTES);
  bytes[at] = CURRENT_FIXED;
  bytes[at + 2] = sense >>> 16;
  bytes[at + 7] = ADDITIONAL_BYTES;
  bytes[at + 12] = sense >>> 8 & 0xff;
  bytes[at + 13] = sense & 0xff;
  if (information < 0 || information > MAX_U32) return;
  bytes[at] = CURRENT_FIXED | VALID;
  bytes[at + 3] = information >>> 24;
  bytes[at + 4] = information >>> 16 & 0xff;
  bytes[at + 5] = information >>> 8 & 0xff;
  bytes[at + 6] = information & 0xff;
}

/** The same in the descriptor format. */
export function writeDescriptorSense(bytes: Uint8Array, sense: number): void {
  bytes.fill(0, 0, DESCRIPTOR_SENSE_BYTES);
  bytes[0] = CURRENT_DESCRIPTOR;
  bytes[1] = sense >>> 16;
  bytes[2] = sense >>> 8 & 0xff;
  bytes[3] = sense & 0xff;
}

/** What has failed, as sense data; a status beside it where there is none to give. */
interface Failure {
  readonly status: number;
  /** One of {@link Sense}, with {@link ScsiStatus}`.checkCondition`. */
  readonly sense: number;
}

const failure = (sense: number, status: number = ScsiStatus.checkCondition): Failure => ({ status, sense });
const FULL = failure(Sense.none, ScsiStatus.taskSetFull);
const CONFLICT = failure(Sense.none, ScsiStatus.reservationConflict);
const GONE = failure(Sense.becomingReady);
const READ = failure(Sense.unrecoveredReadError);
const WRITE = failure(Sense.writeError);
const NO_SPACE = failure(Sense.spaceExhausted);
const PROTECTED = failure(Sense.writeProtected);
const UNKNOWN = failure(Sense.invalidOperation);
const INTERNAL = failure(Sense.internalFailure);

/** Command aborted, time out: the guest's driver is told that the request was aborted, too. */
export const TIMED_OUT: Failure = failure(Sense.timeOut);

/**
 * What a guest is told of a disk's errno (positive) on `op`. Never 20/00 or 24/00 for what fails below, since Linux then
 * does without the command for good, but for ranges that the disk has no command for.
 */
export function failureOf(errno: number, op: Opcode): Failure {
  switch (errno) {
    case Errno.EIO:
      return op === Opcode.read ? READ : WRITE;
    case Errno.ENODATA:
      return READ;
    case Errno.ENOSPC:
    case Errno.EDQUOT:
      return NO_SPACE;
    case Errno.EROFS:
    case Errno.EPERM:
    case Errno.EACCES:
      return PROTECTED;
    case Errno.ENOMEM:
    case Errno.EAGAIN:
      return FULL;
    case Errno.ENXIO:
    case Errno.ENODEV:
    case Errno.ESHUTDOWN:
      return GONE;
    case Errno.ETIMEDOUT:
    case Errno.ECANCELED:
      return TIMED_OUT;
    case Errno.EBADE:
      return CONFLICT;
    case Errno.EOPNOTSUPP:
      return op === Opcode.discard || op === Opcode.writeZeroes ? UNKNOWN : INTERNAL;
    default:
      return INTERNAL;
  }
}
