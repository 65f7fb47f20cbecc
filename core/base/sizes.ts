/** Bytes of a page of memory: of every machine that plugio runs on, and the least that a mapping is made of. */
export const PAGE_BYTES = 4096;

/** Bytes of a sector where a protocol or a kernel counts in sectors, whatever the logical block size. */
export const SECTOR_BYTES = 512;

/** 2^32: what a high half counts in. */
export const TWO_32 = 0x1_0000_0000;
