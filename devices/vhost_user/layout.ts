import { struct } from "../../core/base/layout.ts";

/** State of a ring: its index, and a number whose meaning the message says. */
export const VRING_STATE = struct("struct vhost_vring_state", "linux/vhost_types.h", 8, {
  index: ["index", "u32", 0],
  value: ["num", "u32", 4],
});

/** Addresses of a ring's parts. */
export const VRING_ADDR = struct("struct vhost_vring_addr", "linux/vhost_types.h", 40, {
  index: ["index", "u32", 0],
  flags: ["flags", "u32", 4],
  desc: ["desc_user_addr", "u64", 8],
  used: ["used_user_addr", "u64", 16],
  avail: ["avail_user_addr", "u64", 24],
  log: ["log_guest_addr", "u64", 32],
});

/** A region of memory. What the kernel calls padding is the offset in the file here. */
export const MEMORY_REGION = struct("struct vhost_memory_region", "linux/vhost_types.h", 32, {
  guestAddress: ["guest_phys_addr", "u64", 0],
  byteLength: ["memory_size", "u64", 8],
  userAddress: ["userspace_addr", "u64", 16],
  fileOffset: ["flags_padding", "u64", 24],
});

/** Constants that vhost-user shares with the kernel's vhost. */
export const VHOST_CONSTANTS = {
  VHOST_F_LOG_ALL: { header: "linux/vhost_types.h", value: 26 },
  VHOST_VRING_F_LOG: { header: "linux/vhost_types.h", value: 0 },
} as const;
