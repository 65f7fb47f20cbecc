import { NVME_CONSTANTS as C } from "../../ffi/vfio_nvme/mod.ts";

/** Memory page size that the driver sets (CC.MPS = 0): the smallest that NVMe knows, and the host's. */
export const PAGE_BYTES = 4096;

/** Bytes of a submission queue entry: CC.IOSQES is its logarithm. */
export const SQE_BYTES = 64;

/** Bytes of a completion queue entry: CC.IOCQES is its logarithm. */
export const CQE_BYTES = 16;

/** First doorbell: the submission queue of the admin pair (NVMe over PCIe Transport, 3.1.2). */
const DOORBELLS_AT = 0x1000;

/** CAP.TO counts in units of half a second. */
const CAP_TIMEOUT_UNIT_MS = 500;

/** A register of a device that is gone reads like this. */
export const GONE = 0xffff_ffff;

/** The driver's view of CAP: what a controller can do, before it is asked. */
export interface Capabilities {
  /** Entries of an I/O queue at most (CAP.MQES + 1). */
  readonly maxQueueEntries: number;
  /** Longest time until CSTS.RDY follows CC.EN, in milliseconds (CAP.TO). */
  readonly readyTimeoutMs: number;
  /** Bytes from one doorbell to the next (4 << CAP.DSTRD). */
  readonly doorbellStrideBytes: number;
  /** The NVM command set is there (CAP.CSS bit 0). */
  readonly nvmCommandSet: boolean;
  /** Smallest memory page in bytes (CAP.MPSMIN). */
  readonly minPageBytes: number;
}

/** Reads CAP from its two halves. */
export function decodeCapabilities(low: number, high: number): Capabilities {
  return {
    maxQueueEntries: (low & 0xffff) + 1,
    readyTimeoutMs: ((low >>> 24) & 0xff) * CAP_TIMEOUT_UNIT_MS,
    doorbellStrideBytes: 4 << (high & 0xf),
    nvmCommandSet: ((high >>> 5) & 1) === 1,
    minPageBytes: 4096 << ((high >>> 16) & 0xf),
  };
}

/** CC with everything that the driver wants and EN set: NVM command set, 4 KiB pages, round robin, entry sizes. */
export const CC_ENABLED: number = C.NVME_CC_EN_MASK.value |
  (Math.log2(SQE_BYTES) << C.NVME_CC_IOSQES_SHIFT.value) |
  (Math.log2(CQE_BYTES) << C.NVME_CC_IOCQES_SHIFT.value);

/** CC with a normal shutdown asked for. */
export const CC_SHUTDOWN: number = CC_ENABLED | (C.NVME_CC_SHN_NORMAL.value << C.NVME_CC_SHN_SHIFT.value);

/** CSTS.RDY: the controller takes commands. */
export function isReady(csts: number): boolean {
  return (csts & C.NVME_CSTS_RDY_MASK.value) !== 0;
}

/** CSTS.CFS: the controller met a fatal error and wants to be reset. A device that is gone reads so, too. */
export function isFatal(csts: number): boolean {
  return ((csts >>> C.NVME_CSTS_CFS_SHIFT.value) & 1) === 1;
}

/** CSTS.SHST: the shutdown that was asked for is complete. */
export function isShutDown(csts: number): boolean {
  return ((csts >>> C.NVME_CSTS_SHST_SHIFT.value) & C.NVME_CSTS_SHST_MASK.value) === C.NVME_CSTS_SHST_CMPLT.value;
}

/** Offset of the submission doorbell of queue `qid`. */
export function submissionDoorbell(qid: number, strideBytes: number): number {
  return DOORBELLS_AT + 2 * qid * strideBytes;
}

/** Offset of the completion doorbell of queue `qid`. */
export function completionDoorbell(qid: number, strideBytes: number): number {
  return DOORBELLS_AT + (2 * qid + 1) * strideBytes;
}
