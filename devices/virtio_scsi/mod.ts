/**
 * A virtio-scsi adapter over any block devices: commands, sense data, pages, task management and events. Knows virtqueues,
 * and no transport.
 *
 * @module
 */
export { lunOf, MAX_LUN, MAX_TARGET, placeOf, targetOf } from "./address.ts";
export { FIRST_REQUEST_QUEUE, ScsiModel, type ScsiModelOptions, type ScsiUnitSpec, scsiWorkerOf } from "./model.ts";
export { type ScsiEvent, type ScsiOrder, VIRTIO_SCSI_EVENTS } from "./orders.ts";
export { Sense } from "./sense.ts";
export type { UnitFacts } from "./unit_facts.ts";
export { UnitState } from "./unit_state.ts";
export { ScsiVirtioConfig } from "./virtio_config.ts";
