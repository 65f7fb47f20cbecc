import type { BlockDevice } from "../../core/device/block_device.ts";

/** What a served disk needs of the device behind it. */
export type ServedDevice = Pick<
  BlockDevice,
  | "submit"
  | "read"
  | "write"
  | "flush"
  | "discard"
  | "writeZeroes"
  | "poll"
  | "completionFd"
  | "alignment"
  | "reachesAllMemory"
  | "size"
  | "info"
  | "target"
>;
