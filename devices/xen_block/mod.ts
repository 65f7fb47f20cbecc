/** xen-block: a disk for a guest of Xen, over blkif rings. */
export * from "./adaptive_plug.ts";
