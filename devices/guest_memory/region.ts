import type { OwnedMemory } from "../../core/base/memory.ts";

/** A piece of guest memory: where the guest and its monitor see it, and where it is mapped here. */
export interface GuestRegion {
  /** Address in the guest: what descriptors say. */
  readonly guestAddress: number;
  /** Address in the monitor's process: what the addresses of rings say. */
  readonly userAddress: number;
  /** Bytes. */
  readonly byteLength: number;
  /** The mapping. */
  readonly memory: OwnedMemory;
  /** Number of tables that contain the region; it is unmapped when the last one ends. Written by the tables. */
  tables: number;
}
