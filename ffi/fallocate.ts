import { LIBC_CONSTANTS as C } from "./libc/mod.ts";

/**
 * The mode of fallocate(2) for a range: punching keeps the size. Zeroes past the end of a file grow it, as writing them
 * would; a device cannot grow and wants to be told so.
 */
export function fallocateMode(way: "punch" | "zero range", isDevice: boolean): number {
  const keep = C.FALLOC_FL_KEEP_SIZE.value;
  if (way === "punch") return C.FALLOC_FL_PUNCH_HOLE.value | keep;
  return C.FALLOC_FL_ZERO_RANGE.value | (isDevice ? keep : 0);
}
