import { checkNumber } from "../../core/base/numbers.ts";
import { Errno } from "../../core/base/errno.ts";

/** Status of a command that the driver ended itself: the controller was reset or is gone. A vendor's code is no clash. */
export const DRIVER_ABORTED = 0x10000;

/** Do Not Retry, as it stands in the status once the phase bit is gone. */
const DNR = 1 << 14;

/** Status code and type without the flags above them: what {@link decodeStatus} takes as a key. */
const CODE_MASK = 0x7ff;

/** What a status says. */
export interface NvmeStatus {
  /** Status code type (SCT). */
  readonly type: number;
  /** Status code (SC). */
  readonly code: number;
  /** The same command will fail again. */
  readonly doNotRetry: boolean;
  /** In words; `""` where the specification has none for it. */
  readonly text: string;
}

/** The device's own answer to a command that failed: the cause of a StorageError of this driver. */
export class NvmeStatusError extends Error implements NvmeStatus {
  /** Always `"NvmeStatusError"`. */
  override readonly name = "NvmeStatusError";
  readonly type: number;
  readonly code: number;
  readonly doNotRetry: boolean;
  readonly text: string;

  /** Makes the error of `status`: SCT and SC in 11 bits, the retry flag above. */
  constructor(status: number) {
    checkNumber(status, "word NVMe status", "a number");
    const decoded = decodeStatus(status);
    super(describeStatus(status));
    this.type = decoded.type;
    this.code = decoded.code;
    this.doNotRetry = decoded.doNotRetry;
    this.text = decoded.text;
  }
}

/** Statuses by type and code (Base Specification 2.0, 3.3.3.2; NVM Command Set Specification 1.0, 2.1). */
const STATUSES: Readonly<Record<number, readonly [text: string, errno: number]>> = {
  0x001: ["invalid command opcode", Errno.EOPNOTSUPP],
  0x002: ["invalid field in command", Errno.EINVAL],
  0x003: ["command identifier conflict", Errno.EIO],
  0x004: ["data transfer error", Errno.EIO],
  0x005: ["aborted by power loss notification", Errno.EIO],
  0x006: ["internal error", Errno.EIO],
  0x007: ["abort requested", Errno.ECANCELED],
  0x008: ["aborted by deletion of its submission queue", Errno.ECANCELED],
  0x00b: ["invalid namespace or format", Errno.ENODEV],
  0x00c: ["command sequence error", Errno.EIO],
  0x013: ["PRP offset invalid", Errno.EINVAL],
  0x015: ["operation denied", Errno.EACCES],
  0x01c: ["sanitize failed", Errno.EIO],
  0x01d: ["sanitize in progress", Errno.EBUSY],
  0x020: ["namespace is write protected", Errno.EROFS],
  0x021: ["command interrupted", Errno.EAGAIN],
  0x022: ["transient transport error", Errno.EAGAIN],
  0x080: ["LBA out of range", Errno.EINVAL],
  0x081: ["capacity exceeded", Errno.ENOSPC],
  0x082: ["namespace not ready", Errno.EAGAIN],
  0x083: ["reservation conflict", Errno.EBUSY],
  0x084: ["format in progress", Errno.EBUSY],
  0x100: ["completion queue invalid", Errno.EINVAL],
  0x101: ["invalid queue identifier", Errno.EINVAL],
  0x102: ["invalid queue size", Errno.EINVAL],
  0x103: ["abort command limit exceeded", Errno.EAGAIN],
  0x105: ["asynchronous event request limit exceeded", Errno.EAGAIN],
  0x108: ["invalid interrupt vector", Errno.EINVAL],
  0x109: ["invalid log page", Errno.EINVAL],
  0x180: ["conflicting attributes", Errno.EINVAL],
  0x181: ["invalid protection information", Errno.EINVAL],
  0x182: ["attempted write to read-only range", Errno.EROFS],
  0x183: ["command size limit exceeded", Errno.EINVAL],
  0x280: ["write fault", Errno.EIO],
  0x281: ["unrecovered read error", Errno.EIO],
  0x282: ["end-to-end guard check error", Errno.EILSEQ],
  0x283: ["end-to-end application tag check error", Errno.EILSEQ],
  0x284: ["end-to-end reference tag check error", Errno.EILSEQ],
  0x285: ["compare failure", Errno.EIO],
  0x286: ["access denied", Errno.EACCES],
  0x287: ["deallocated or unwritten logical block", Errno.EIO],
};

/** Takes a status apart: bits 10:8 are the type, 7:0 the code, 14 says that a retry is of no use. */
function decodeStatus(status: number): NvmeStatus {
  return {
    type: (status >>> 8) & 7,
    code: status & 0xff,
    doNotRetry: (status & DNR) !== 0,
    text: status === DRIVER_ABORTED ? "ended by a controller reset" : STATUSES[status & CODE_MASK]?.[0] ?? "",
  };
}

/** `"unrecovered read error (SCT 2h, SC 81h)"`. */
function describeStatus(status: number): string {
  const { type, code, text, doNotRetry } = decodeStatus(status);
  if (status === DRIVER_ABORTED) return text;
  const hex = `SCT ${type.toString(16)}h, SC ${code.toString(16).padStart(2, "0")}h${doNotRetry ? ", DNR" : ""}`;
  return `${text === "" ? "unknown status" : text} (${hex})`;
}

/** The nearest errno of a status other than success. EAGAIN only where a retry may help. */
export function statusErrno(status: number): number {
  if (status === DRIVER_ABORTED) return Errno.EIO;
  const errno = STATUSES[status & CODE_MASK]?.[1] ?? Errno.EIO;
  return errno === Errno.EAGAIN && (status & DNR) !== 0 ? Errno.EIO : errno;
}
