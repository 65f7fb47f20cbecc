import { struct } from "../../core/base/layout.ts";

/** Head of a request, at the start of its readable bytes. */
export const VIRTIO_BLK_OUTHDR = struct("struct virtio_blk_outhdr", "linux/virtio_blk.h", 16, {
  type: ["type", "u32", 0],
  sector: ["sector", "u64", 8],
});

/** The range of a discard or write-zeroes request. */
export const VIRTIO_BLK_RANGE = struct("struct virtio_blk_discard_write_zeroes", "linux/virtio_blk.h", 16, {
  sector: ["sector", "u64", 0],
  sectorCount: ["num_sectors", "u32", 8],
  flags: ["flags", "u32", 12],
});

/** The configuration space up to write zeroes: newer headers add fields for secure erase and zoned devices. */
export const VIRTIO_BLK_CONFIG = struct("struct virtio_blk_config", "linux/virtio_blk.h", 60, {
  capacity: ["capacity", "u64", 0],
  sizeMax: ["size_max", "u32", 8],
  segMax: ["seg_max", "u32", 12],
  blkSize: ["blk_size", "u32", 20],
  physicalBlockExp: ["physical_block_exp", "u8", 24],
  minIoSize: ["min_io_size", "u16", 26],
  optIoSize: ["opt_io_size", "u32", 28],
  wce: ["wce", "u8", 32],
  numQueues: ["num_queues", "u16", 34],
  maxDiscardSectors: ["max_discard_sectors", "u32", 36],
  maxDiscardSeg: ["max_discard_seg", "u32", 40],
  discardSectorAlignment: ["discard_sector_alignment", "u32", 44],
  maxWriteZeroesSectors: ["max_write_zeroes_sectors", "u32", 48],
  maxWriteZeroesSeg: ["max_write_zeroes_seg", "u32", 52],
  writeZeroesMayUnmap: ["write_zeroes_may_unmap", "u8", 56],
});

/** Constants of the header. Features are numbers of bits. */
export const VIRTIO_BLK_CONSTANTS = {
  VIRTIO_BLK_F_SIZE_MAX: { header: "linux/virtio_blk.h", value: 1 },
  VIRTIO_BLK_F_SEG_MAX: { header: "linux/virtio_blk.h", value: 2 },
  VIRTIO_BLK_F_RO: { header: "linux/virtio_blk.h", value: 5 },
  VIRTIO_BLK_F_BLK_SIZE: { header: "linux/virtio_blk.h", value: 6 },
  VIRTIO_BLK_F_FLUSH: { header: "linux/virtio_blk.h", value: 9 },
  VIRTIO_BLK_F_TOPOLOGY: { header: "linux/virtio_blk.h", value: 10 },
  VIRTIO_BLK_F_CONFIG_WCE: { header: "linux/virtio_blk.h", value: 11 },
  VIRTIO_BLK_F_MQ: { header: "linux/virtio_blk.h", value: 12 },
  VIRTIO_BLK_F_DISCARD: { header: "linux/virtio_blk.h", value: 13 },
  VIRTIO_BLK_F_WRITE_ZEROES: { header: "linux/virtio_blk.h", value: 14 },
  VIRTIO_BLK_ID_BYTES: { header: "linux/virtio_blk.h", value: 20 },
  VIRTIO_BLK_T_IN: { header: "linux/virtio_blk.h", value: 0 },
  VIRTIO_BLK_T_OUT: { header: "linux/virtio_blk.h", value: 1 },
  VIRTIO_BLK_T_FLUSH: { header: "linux/virtio_blk.h", value: 4 },
  VIRTIO_BLK_T_GET_ID: { header: "linux/virtio_blk.h", value: 8 },
  VIRTIO_BLK_T_DISCARD: { header: "linux/virtio_blk.h", value: 11 },
  VIRTIO_BLK_T_WRITE_ZEROES: { header: "linux/virtio_blk.h", value: 13 },
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP: { header: "linux/virtio_blk.h", value: 1 },
  VIRTIO_BLK_S_OK: { header: "linux/virtio_blk.h", value: 0 },
  VIRTIO_BLK_S_IOERR: { header: "linux/virtio_blk.h", value: 1 },
  VIRTIO_BLK_S_UNSUPP: { header: "linux/virtio_blk.h", value: 2 },
} as const;
