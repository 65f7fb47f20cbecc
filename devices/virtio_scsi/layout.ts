import { struct } from "../../core/base/layout.ts";

/** Head of a command, at the start of its readable bytes; the data to write follows. */
export const VIRTIO_SCSI_CMD_REQ = struct("struct virtio_scsi_cmd_req", "linux/virtio_scsi.h", 51, {
  lun: ["lun", "bytes", 0],
  tag: ["tag", "u64", 8],
  taskAttr: ["task_attr", "u8", 16],
  prio: ["prio", "u8", 17],
  crn: ["crn", "u8", 18],
  cdb: ["cdb", "bytes", 19],
});

/** The same where the driver has negotiated protection information. */
export const VIRTIO_SCSI_CMD_REQ_PI = struct("struct virtio_scsi_cmd_req_pi", "linux/virtio_scsi.h", 59, {
  lun: ["lun", "bytes", 0],
  tag: ["tag", "u64", 8],
  taskAttr: ["task_attr", "u8", 16],
  piBytesOut: ["pi_bytesout", "u32", 19],
  piBytesIn: ["pi_bytesin", "u32", 23],
  cdb: ["cdb", "bytes", 27],
});

/** Answer to a command, at the start of its writable bytes; the data that was read follows. */
export const VIRTIO_SCSI_CMD_RESP = struct("struct virtio_scsi_cmd_resp", "linux/virtio_scsi.h", 108, {
  senseLength: ["sense_len", "u32", 0],
  residual: ["resid", "u32", 4],
  statusQualifier: ["status_qualifier", "u16", 8],
  status: ["status", "u8", 10],
  response: ["response", "u8", 11],
  sense: ["sense", "bytes", 12],
});

/** A task management function. */
export const VIRTIO_SCSI_CTRL_TMF_REQ = struct("struct virtio_scsi_ctrl_tmf_req", "linux/virtio_scsi.h", 24, {
  type: ["type", "u32", 0],
  subtype: ["subtype", "u32", 4],
  lun: ["lun", "bytes", 8],
  tag: ["tag", "u64", 16],
});

/** Its answer. */
export const VIRTIO_SCSI_CTRL_TMF_RESP = struct("struct virtio_scsi_ctrl_tmf_resp", "linux/virtio_scsi.h", 1, {
  response: ["response", "u8", 0],
});

/** A question for asynchronous events, or a subscription to them. */
export const VIRTIO_SCSI_CTRL_AN_REQ = struct("struct virtio_scsi_ctrl_an_req", "linux/virtio_scsi.h", 16, {
  type: ["type", "u32", 0],
  lun: ["lun", "bytes", 4],
  eventRequested: ["event_requested", "u32", 12],
});

/** Its answer. */
export const VIRTIO_SCSI_CTRL_AN_RESP = struct("struct virtio_scsi_ctrl_an_resp", "linux/virtio_scsi.h", 5, {
  eventActual: ["event_actual", "u32", 0],
  response: ["response", "u8", 4],
});

/** What the device tells by itself. */
export const VIRTIO_SCSI_EVENT = struct("struct virtio_scsi_event", "linux/virtio_scsi.h", 16, {
  event: ["event", "u32", 0],
  lun: ["lun", "bytes", 4],
  reason: ["reason", "u32", 12],
});

/** The configuration space. */
export const VIRTIO_SCSI_CONFIG = struct("struct virtio_scsi_config", "linux/virtio_scsi.h", 36, {
  numQueues: ["num_queues", "u32", 0],
  segMax: ["seg_max", "u32", 4],
  maxSectors: ["max_sectors", "u32", 8],
  commandsPerLun: ["cmd_per_lun", "u32", 12],
  eventInfoSize: ["event_info_size", "u32", 16],
  senseSize: ["sense_size", "u32", 20],
  cdbSize: ["cdb_size", "u32", 24],
  maxChannel: ["max_channel", "u16", 28],
  maxTarget: ["max_target", "u16", 30],
  maxLun: ["max_lun", "u32", 32],
});

const header = "linux/virtio_scsi.h";

/** Constants of the header. Features are numbers of bits. */
export const VIRTIO_SCSI_CONSTANTS = {
  VIRTIO_SCSI_F_INOUT: { header, value: 0 },
  VIRTIO_SCSI_F_HOTPLUG: { header, value: 1 },
  VIRTIO_SCSI_F_CHANGE: { header, value: 2 },
  VIRTIO_SCSI_F_T10_PI: { header, value: 3 },
  VIRTIO_SCSI_CDB_DEFAULT_SIZE: { header, value: 32 },
  VIRTIO_SCSI_SENSE_DEFAULT_SIZE: { header, value: 96 },
  VIRTIO_SCSI_S_OK: { header, value: 0 },
  VIRTIO_SCSI_S_OVERRUN: { header, value: 1 },
  VIRTIO_SCSI_S_ABORTED: { header, value: 2 },
  VIRTIO_SCSI_S_BAD_TARGET: { header, value: 3 },
  VIRTIO_SCSI_S_RESET: { header, value: 4 },
  VIRTIO_SCSI_S_BUSY: { header, value: 5 },
  VIRTIO_SCSI_S_FAILURE: { header, value: 9 },
  VIRTIO_SCSI_S_FUNCTION_SUCCEEDED: { header, value: 10 },
  VIRTIO_SCSI_S_FUNCTION_REJECTED: { header, value: 11 },
  VIRTIO_SCSI_S_INCORRECT_LUN: { header, value: 12 },
  VIRTIO_SCSI_T_TMF: { header, value: 0 },
  VIRTIO_SCSI_T_AN_QUERY: { header, value: 1 },
  VIRTIO_SCSI_T_AN_SUBSCRIBE: { header, value: 2 },
  VIRTIO_SCSI_T_TMF_ABORT_TASK: { header, value: 0 },
  VIRTIO_SCSI_T_TMF_ABORT_TASK_SET: { header, value: 1 },
  VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET: { header, value: 3 },
  VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET: { header, value: 4 },
  VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET: { header, value: 5 },
  VIRTIO_SCSI_T_TMF_QUERY_TASK: { header, value: 6 },
  VIRTIO_SCSI_T_TMF_QUERY_TASK_SET: { header, value: 7 },
  VIRTIO_SCSI_T_NO_EVENT: { header, value: 0 },
  VIRTIO_SCSI_T_TRANSPORT_RESET: { header, value: 1 },
  VIRTIO_SCSI_T_PARAM_CHANGE: { header, value: 3 },
  VIRTIO_SCSI_T_EVENTS_MISSED: { header, value: 0x8000_0000 },
  VIRTIO_SCSI_EVT_RESET_RESCAN: { header, value: 1 },
  VIRTIO_SCSI_EVT_RESET_REMOVED: { header, value: 2 },
} as const;
