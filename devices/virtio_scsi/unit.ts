import type { DiskUnit } from "../disk/mod.ts";
import type { UnitFacts } from "./unit_facts.ts";
import type { UnitState } from "./unit_state.ts";

/** A logical unit in one Worker: a disk, what it says of itself, and what the guest has set. */
export interface ScsiUnit {
  /** Target and LUN. */
  readonly place: number;
  /** The disk. */
  readonly disk: DiskUnit;
  /** Replaced when the disk has another size. */
  facts: UnitFacts;
  /** Shared by all Workers. */
  readonly state: UnitState;
}
