import { TWO_32 } from "../../core/base/sizes.ts";
import { wordIndex } from "../../core/base/layout.ts";
import { type IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import { NVME_CONSTANTS as C, NVME_PASSTHRU_CMD as CMD } from "../../ffi/vfio_nvme/mod.ts";
import type { PrpBuilder } from "./prp.ts";

// Fields of a submission queue entry, in words; up to the address and from CDW10 on as in the kernel's command.
const NSID = wordIndex(CMD, "nsid");
const PRP1 = wordIndex(CMD, "addr");
const PRP2 = wordIndex(CMD, "metadata_len");
const CDW10 = wordIndex(CMD, "cdw10");
const CDW11 = wordIndex(CMD, "cdw11");
const CDW12 = wordIndex(CMD, "cdw12");

/** Blocks of one read, write or write-zeroes command: 16 bits, counted from 0. */
export const MAX_COMMAND_BLOCKS = 65536;

/** Blocks of one range of Dataset Management: 32 bits. */
export const MAX_RANGE_BLOCKS = 0xffff_ffff;

const IO_OPCODES: Readonly<Record<number, number>> = {
  [Opcode.read]: C.nvme_cmd_read.value,
  [Opcode.write]: C.nvme_cmd_write.value,
  [Opcode.flush]: C.nvme_cmd_flush.value,
  [Opcode.discard]: C.nvme_cmd_dsm.value,
  [Opcode.writeZeroes]: C.nvme_cmd_write_zeroes.value,
};

/** FUA is defined for the upper half of CDW12. */
const CONTROL_SHIFT = 16;

/** What an I/O command is for, and where: one object for a queue, filled for each command. */
export class IoCommand {
  cid = 0;
  nsid = 0;
  /** First block. */
  firstBlock = 0;
  /** Blocks, at least 1; not for flush. */
  blockCount = 0;
}

/**
 * Writes the entry of an I/O request at `at` of `sq`; `prp` describes its memory. Every word that any command of the
 * driver uses is written: the entry still holds its last command.
 */
export function writeIoCommand(
  sq: Int32Array,
  at: number,
  request: IoRequest,
  prp: PrpBuilder,
  command: IoCommand,
): void {
  const { op } = request;
  const { firstBlock, blockCount } = command;
  const hasMemory = op === Opcode.read || op === Opcode.write || op === Opcode.discard;
  const hasBlocks = op === Opcode.read || op === Opcode.write || op === Opcode.writeZeroes;
  const fua = op === Opcode.write && (request.flags & RequestFlag.fua) !== 0 ? C.NVME_IO_FUA.value : 0;
  sq[at] = IO_OPCODES[op]! | (command.cid << 16);
  sq[at + NSID] = command.nsid;
  sq[at + PRP1] = hasMemory ? prp.low1 : 0;
  sq[at + PRP1 + 1] = hasMemory ? prp.high1 : 0;
  sq[at + PRP2] = hasMemory ? prp.low2 : 0;
  sq[at + PRP2 + 1] = hasMemory ? prp.high2 : 0;
  // A discard has one range, counted from 0 in CDW10, and says what it is for in CDW11.
  sq[at + CDW10] = hasBlocks ? firstBlock : 0;
  sq[at + CDW11] = hasBlocks ? firstBlock / TWO_32 : op === Opcode.discard ? C.NVME_DSMGMT_AD.value : 0;
  sq[at + CDW12] = hasBlocks ? (blockCount - 1) | (fua << CONTROL_SHIFT) : 0;
}

/** An admin command as data. Fields that are missing are 0. */
export interface AdminCommand {
  /** What it does, for messages: `"identify"`. */
  readonly name: string;
  readonly opcode: number;
  readonly nsid?: number;
  /** Address of its data, one page. */
  readonly iova?: number;
  readonly cdw10?: number;
  readonly cdw11?: number;
  readonly cdw12?: number;
}

/** Writes an admin command at `at` of `sq`; the words that no command of the driver uses stay 0. */
export function writeAdminCommand(sq: Int32Array, at: number, cid: number, command: AdminCommand): void {
  const { opcode, nsid = 0, iova = 0, cdw10 = 0, cdw11 = 0, cdw12 = 0 } = command;
  sq[at] = opcode | (cid << 16);
  sq[at + NSID] = nsid;
  sq[at + PRP1] = iova;
  sq[at + PRP1 + 1] = iova / TWO_32;
  sq[at + CDW10] = cdw10;
  sq[at + CDW11] = cdw11;
  sq[at + CDW12] = cdw12;
}

/** Identify, by controller or namespace structure. */
export function identify(cns: number, iova: number, nsid = 0, csi = 0): AdminCommand {
  return { name: "identify", opcode: C.nvme_admin_identify.value, nsid, iova, cdw10: cns, cdw11: csi << 24 };
}

/** Set Features: how many I/O queues of each kind are wanted; the answer says how many there are. */
export function setQueueCount(count: number): AdminCommand {
  const both = (count - 1) | ((count - 1) << 16);
  return {
    name: "set the number of queues",
    opcode: C.nvme_admin_set_features.value,
    cdw10: C.NVME_FEAT_FID_NUM_QUEUES.value,
    cdw11: both,
  };
}

/** Set Features: which events the controller reports (Asynchronous Event Configuration). */
export function setReportedEvents(events: number): AdminCommand {
  return {
    name: "choose the events of",
    opcode: C.nvme_admin_set_features.value,
    cdw10: C.NVME_FEAT_FID_ASYNC_EVENT.value,
    cdw11: events,
  };
}

/** Creates an I/O completion queue in contiguous memory that interrupts through `vector`. */
export function createCompletionQueue(qid: number, entries: number, iova: number, vector: number): AdminCommand {
  const contiguousWithInterrupt = 0b11;
  return {
    name: "create a completion queue",
    opcode: C.nvme_admin_create_cq.value,
    iova,
    cdw10: qid | ((entries - 1) << 16),
    cdw11: contiguousWithInterrupt | (vector << 16),
  };
}

/** Creates an I/O submission queue in contiguous memory that completes into the queue of the same number. */
export function createSubmissionQueue(qid: number, entries: number, iova: number): AdminCommand {
  const contiguous = 1;
  return {
    name: "create a submission queue",
    opcode: C.nvme_admin_create_sq.value,
    iova,
    cdw10: qid | ((entries - 1) << 16),
    cdw11: contiguous | (qid << 16),
  };
}

/** Deletes an I/O submission queue: what is in it is aborted. */
export function deleteSubmissionQueue(qid: number): AdminCommand {
  return { name: "delete a submission queue", opcode: C.nvme_admin_delete_sq.value, cdw10: qid };
}

/** Deletes an I/O completion queue, after its submission queue. */
export function deleteCompletionQueue(qid: number): AdminCommand {
  return { name: "delete a completion queue", opcode: C.nvme_admin_delete_cq.value, cdw10: qid };
}

/** Asks for a command of queue `qid` to be given up. */
export function abortCommand(qid: number, cid: number): AdminCommand {
  return { name: "abort a command", opcode: C.nvme_admin_abort_cmd.value, cdw10: qid | (cid << 16) };
}

/** Completes when the controller has something to tell. */
export const ASYNC_EVENT: AdminCommand = { name: "await an event", opcode: C.nvme_admin_async_event.value };

/** Reads a log page of at most one memory page; reading it also clears the event that named it. */
export function getLogPage(page: number, byteLength: number, iova: number): AdminCommand {
  const wholeController = 0xffff_ffff;
  return {
    name: "read a log page",
    opcode: C.nvme_admin_get_log_page.value,
    nsid: wholeController,
    iova,
    cdw10: page | ((byteLength / 4 - 1) << 16),
  };
}
