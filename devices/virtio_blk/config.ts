import type { FieldKind } from "../../core/base/layout.ts";
import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { featureBits, VIRTIO_CONSTANTS as V } from "../virtio/mod.ts";
import { VIRTIO_BLK_CONFIG as CONFIG, VIRTIO_BLK_CONSTANTS as B } from "./layout.ts";

/**
 * Sectors that a guest is asked to put into one discard or write-zeroes request at most, 2 GiB: QEMU's own disk has as
 * many, but for a last one, which is no whole block of most disks. Longer requests are done as well: QEMU 10 as a client
 * (`virtio-blk-vhost-user`) sends any length.
 */
export const MAX_RANGE_SECTORS = 4_194_304;

/** Segments of data in one request: as qemu-storage-daemon offers. Too few makes a guest send tiny requests. */
export const MAX_SEGMENTS = 126;

/** Bytes of one segment that are asked for at most: what a guest may put behind one descriptor. */
const MAX_SEGMENT_BYTES = 1024 * 1024;

/** Longest serial, in bytes. */
export const MAX_SERIAL_BYTES: number = B.VIRTIO_BLK_ID_BYTES.value;

/** What the guest is told of the disk. */
export interface BlkFacts {
  /** Size in bytes; what is behind the last whole sector is not shown. */
  readonly sizeBytes: number;
  /** Logical block size in bytes, at least a sector. */
  readonly blockSizeBytes: number;
  /** Bytes that are best written whole, a power of two times the block size. Default the block size. */
  readonly physicalBlockBytes?: number;
  /** Discards of less than these bytes, or beside their multiples, do nothing. Default the block size. */
  readonly discardBytes?: number;
  /** Writes are refused. */
  readonly readOnly: boolean;
  /** Queues that the guest may use. */
  readonly queueCount: number;
  /** Entries of the largest ring. */
  readonly maxQueueSize: number;
  /** The guest starts with a write-back cache and flushes; else every write is durable when it is answered. */
  readonly writeBack: boolean;
}

/** Features of virtio-blk and of its rings, without those of the transport. */
export function blkFeatures({ readOnly }: BlkFacts): bigint {
  const usual = featureBits(
    V.VIRTIO_F_VERSION_1,
    V.VIRTIO_RING_F_INDIRECT_DESC,
    V.VIRTIO_RING_F_EVENT_IDX,
    B.VIRTIO_BLK_F_SIZE_MAX,
    B.VIRTIO_BLK_F_SEG_MAX,
    B.VIRTIO_BLK_F_BLK_SIZE,
    B.VIRTIO_BLK_F_TOPOLOGY,
    B.VIRTIO_BLK_F_MQ,
    B.VIRTIO_BLK_F_FLUSH,
    B.VIRTIO_BLK_F_CONFIG_WCE,
  );
  if (readOnly) return usual | featureBits(B.VIRTIO_BLK_F_RO);
  return usual | featureBits(B.VIRTIO_BLK_F_DISCARD, B.VIRTIO_BLK_F_WRITE_ZEROES);
}

/** Whole sectors of a disk. */
function sectorsOf(sizeBytes: number): number {
  return Math.floor(sizeBytes / SECTOR_BYTES);
}

/** The configuration space as the guest reads it. */
export function blkConfig(facts: BlkFacts): Uint8Array<ArrayBuffer> {
  const { physicalBlockBytes = facts.blockSizeBytes, discardBytes = facts.blockSizeBytes } = facts;
  return writeConfigFields({
    capacity: sectorsOf(facts.sizeBytes),
    sizeMax: MAX_SEGMENT_BYTES,
    // A chain has a header and a status as well, and is no longer than the ring.
    segMax: Math.max(1, Math.min(MAX_SEGMENTS, facts.maxQueueSize - 2)),
    blkSize: facts.blockSizeBytes,
    physicalBlockExp: Math.log2(physicalBlockBytes / facts.blockSizeBytes),
    minIoSize: 1,
    optIoSize: 1,
    wce: facts.writeBack ? 1 : 0,
    numQueues: facts.queueCount,
    maxDiscardSectors: facts.readOnly ? 0 : MAX_RANGE_SECTORS,
    maxDiscardSeg: facts.readOnly ? 0 : 1,
    discardSectorAlignment: facts.readOnly ? 0 : discardBytes / SECTOR_BYTES,
    maxWriteZeroesSectors: facts.readOnly ? 0 : MAX_RANGE_SECTORS,
    maxWriteZeroesSeg: facts.readOnly ? 0 : 1,
    writeZeroesMayUnmap: facts.readOnly ? 0 : 1,
  });
}

type ConfigField = keyof typeof CONFIG.fields;

function writeConfigFields(values: Partial<Record<ConfigField, number>>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(CONFIG.byteLength);
  const view = new DataView(bytes.buffer);
  for (const [name, value] of Object.entries(values) as [ConfigField, number][]) {
    const { kind, offset } = CONFIG.fields[name];
    SETTERS[kind]!(view, offset, value);
  }
  return bytes;
}

const SETTERS: Partial<Record<FieldKind, (view: DataView, offset: number, value: number) => void>> = {
  u8: (view, offset, value) => view.setUint8(offset, value),
  u16: (view, offset, value) => view.setUint16(offset, value, true),
  u32: (view, offset, value) => view.setUint32(offset, value, true),
  u64: (view, offset, value) => view.setBigUint64(offset, BigInt(value), true),
};

/** Byte of the configuration space that a guest may write: its wish for a write-back cache. */
export const WCE_OFFSET: number = CONFIG.fields.wce.offset;
