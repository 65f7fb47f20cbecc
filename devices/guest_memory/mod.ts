/**
 * The memory of a guest: regions with checked addresses, pieces of them, and the log of pages written to. Pure: who
 * maps the memory belongs to the caller.
 *
 * @module
 */
export { DirtyLog, LOG_PAGE_BYTES } from "./dirty_log.ts";
export { SegmentList } from "./segments.ts";
export type { GuestRegion } from "./region.ts";
export { GuestMemory, type GuestPlace } from "./table.ts";
