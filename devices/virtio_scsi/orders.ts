/**
 * What an adapter asks of its parts in all Workers: plain data.
 *
 * @module
 */
import { targetOf } from "./address.ts";
import { VIRTIO_SCSI_CONSTANTS as C } from "./layout.ts";
import type { ScsiRequest } from "./request.ts";
import type { UnitFacts } from "./unit_facts.ts";

/** Which commands are meant: one by its tag, those of a unit, or those of a target. */
export type TaskSet =
  | { readonly of: "task"; readonly place: number; readonly tagLow: number; readonly tagHigh: number }
  | { readonly of: "unit" | "target"; readonly place: number };

/** What a part of the device is asked to do. */
export type ScsiOrder =
  /** Answer `response` to these commands, and wait for it; answers how many there were. */
  | { readonly order: "abort"; readonly tasks: TaskSet; readonly response: number }
  /** Answers how many of these there are. */
  | { readonly order: "count"; readonly tasks: TaskSet }
  /** Units are as after power on: those of a task set's place, or all. */
  | { readonly order: "reset"; readonly tasks: TaskSet | null }
  /** The unit is not found any more; wait for what it has in flight. */
  | { readonly order: "hide"; readonly place: number }
  /** The unit has another size. */
  | { readonly order: "resize"; readonly place: number; readonly blocks: number }
  /** Serve the unit whose disk this Worker has open. */
  | { readonly order: "add"; readonly place: number; readonly unit: SharedUnit }
  /** Tell the driver. */
  | { readonly order: "event"; readonly event: ScsiEvent };

/** What a unit has in common in all Workers. */
export interface SharedUnit {
  readonly facts: UnitFacts;
  /** Whether it has a write-back cache at first. */
  readonly writeBack: boolean;
  /** What the guest changes of it. */
  readonly state: SharedArrayBuffer;
  /** Where parts of blocks are locked. */
  readonly rangeLocks: SharedArrayBuffer;
}

/** What the driver is told by itself. */
export interface ScsiEvent {
  /** VIRTIO_SCSI_T_… */
  readonly event: number;
  readonly place: number;
  /** VIRTIO_SCSI_EVT_…, or a code of sense data and its qualifier in the second byte. */
  readonly reason: number;
}

/** Events and their reasons: those of the header, and codes of sense data with the qualifier in the second byte. */
export const VIRTIO_SCSI_EVENTS = {
  transportReset: C.VIRTIO_SCSI_T_TRANSPORT_RESET.value,
  rescan: C.VIRTIO_SCSI_EVT_RESET_RESCAN.value,
  removed: C.VIRTIO_SCSI_EVT_RESET_REMOVED.value,
  parameterChange: C.VIRTIO_SCSI_T_PARAM_CHANGE.value,
  capacityChanged: 0x092a,
} as const;

/** Whether a command belongs to a task set. */
export function isIn(tasks: TaskSet, { place, tagLow, tagHigh }: ScsiRequest): boolean {
  switch (tasks.of) {
    case "task":
      return place === tasks.place && tagLow === tasks.tagLow && tagHigh === tasks.tagHigh;
    case "unit":
      return place === tasks.place;
    case "target":
      return targetOf(place) === targetOf(tasks.place);
  }
}
