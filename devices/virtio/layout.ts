import { struct } from "../../core/base/layout.ts";

/** One entry of a descriptor table (virtio 1.2, 2.7.5). */
export const VRING_DESC = struct("struct vring_desc", "linux/virtio_ring.h", 16, {
  address: ["addr", "u64", 0],
  length: ["len", "u32", 8],
  flags: ["flags", "u16", 12],
  next: ["next", "u16", 14],
});

/** Head of the available ring; the entries follow, then `used_event`. */
export const VRING_AVAIL = struct("struct vring_avail", "linux/virtio_ring.h", 4, {
  flags: ["flags", "u16", 0],
  index: ["idx", "u16", 2],
});

/** One entry of the used ring. */
export const VRING_USED_ELEM = struct("struct vring_used_elem", "linux/virtio_ring.h", 8, {
  id: ["id", "u32", 0],
  length: ["len", "u32", 4],
});

/** Head of the used ring; the entries follow, then `avail_event`. */
export const VRING_USED = struct("struct vring_used", "linux/virtio_ring.h", 4, {
  flags: ["flags", "u16", 0],
  index: ["idx", "u16", 2],
});

/** Constants of the headers. Features are numbers of bits. */
export const VIRTIO_CONSTANTS = {
  VRING_DESC_F_NEXT: { header: "linux/virtio_ring.h", value: 1 },
  VRING_DESC_F_WRITE: { header: "linux/virtio_ring.h", value: 2 },
  VRING_DESC_F_INDIRECT: { header: "linux/virtio_ring.h", value: 4 },
  VRING_USED_F_NO_NOTIFY: { header: "linux/virtio_ring.h", value: 1 },
  VRING_AVAIL_F_NO_INTERRUPT: { header: "linux/virtio_ring.h", value: 1 },
  VIRTIO_RING_F_INDIRECT_DESC: { header: "linux/virtio_ring.h", value: 28 },
  VIRTIO_RING_F_EVENT_IDX: { header: "linux/virtio_ring.h", value: 29 },
  VIRTIO_F_VERSION_1: { header: "linux/virtio_config.h", value: 32 },
  VIRTIO_CONFIG_S_NEEDS_RESET: { header: "linux/virtio_config.h", value: 0x40 },
} as const;
