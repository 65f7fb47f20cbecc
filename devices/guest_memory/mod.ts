/**
 * The memory of a guest: regions with checked addresses, pieces of them, and the log of pages written to. Pure: who
 * maps the memory is somebody else's business.
 *
 * @module
 */
export { DirtyLog, LOG_PAGE_BYTES } from "./dirty_log.ts";
export { SegmentList } from "./segments.ts";
export type { GuestRegion } from "./region.ts";
export { GuestMemory, type GuestPlace } from "./table.ts";
