/**
 * Commands that only tell something: their data, whatever queue they came by.
 *
 * @module
 */
import { lunBytes, lunOf, targetOf } from "./address.ts";
import { readU32, writeU16, writeU32, writeU64 } from "./bytes.ts";
import { Action, Op, writeOperationCodes } from "./cdb.ts";
import { Peripheral, writeInquiry, writeVpdPage } from "./inquiry.ts";
import { writeModeSense } from "./mode_pages.ts";
import { DESCRIPTOR_SENSE_BYTES, Sense, SENSE_BYTES, writeDescriptorSense, writeSense } from "./sense.ts";
import type { ScsiUnit } from "./unit.ts";

/** Bytes of the longest answer. */
export const REPLY_BYTES = 4096;

const MAX_U32 = 0xffff_ffff;
const CAPACITY16_BYTES = 32;
const LUN_ENTRY_BYTES = 8;

/** Bytes that are not an answer: the command is not one of these. */
export const NOT_HERE: number = -(2 ** 31);

/** Where units are found. */
export interface UnitTable {
  /** Places of the units that there are, ascending. */
  readonly places: readonly number[];
}

/**
 * Writes the answer to a command that tells something of `unit`; returns its bytes, sense data below 0, or
 * {@link NOT_HERE}. Allocation lengths are the caller's business.
 */
export function tell(bytes: Uint8Array, cdb: Uint8Array, unit: ScsiUnit, table: UnitTable): number {
  switch (cdb[0]) {
    case Op.inquiry:
      return tellInquiry(bytes, cdb, unit);
    case Op.requestSense:
      return tellSense(bytes, cdb, unit.state.takeAttention());
    case Op.reportLuns:
      unit.state.forget(Sense.lunsChanged);
      return tellLuns(bytes, cdb, targetOf(unit.place), table);
    case Op.readCapacity10:
      return tellCapacity10(bytes, cdb, unit);
    case Op.serviceActionIn16:
      return (cdb[1]! & 0x1f) === Action.readCapacity16 ? tellCapacity16(bytes, unit) : -Sense.invalidFieldInCdb;
    case Op.modeSense6:
      return writeModeSense(bytes, cdb, 6, unit);
    case Op.modeSense10:
      return writeModeSense(bytes, cdb, 10, unit);
    case Op.maintenanceIn:
      return tellMaintenance(bytes, cdb);
    default:
      return NOT_HERE;
  }
}

/** The same where the target has no unit of this LUN: what there is to find the others, and that there is none here. */
export function tellAbsent(bytes: Uint8Array, cdb: Uint8Array, place: number, table: UnitTable): number {
  switch (cdb[0]) {
    case Op.inquiry:
      if ((cdb[1]! & 3) !== 0 || cdb[2] !== 0) return -Sense.invalidFieldInCdb;
      // LUN 0 is asked for the others, so it answers as one that could be there.
      return writeInquiry(bytes, lunOf(place) === 0 ? Peripheral.absent : Peripheral.impossible);
    case Op.requestSense:
      return tellSense(bytes, cdb, Sense.noUnit);
    case Op.reportLuns:
      return tellLuns(bytes, cdb, targetOf(place), table);
    default:
      return -Sense.noUnit;
  }
}

function tellInquiry(bytes: Uint8Array, cdb: Uint8Array, { facts }: ScsiUnit): number {
  // CMDDT, of an older standard.
  if ((cdb[1]! & 2) !== 0) return -Sense.invalidFieldInCdb;
  const hasPage = (cdb[1]! & 1) !== 0;
  if (!hasPage) return cdb[2] === 0 ? writeInquiry(bytes, Peripheral.disk) : -Sense.invalidFieldInCdb;
  return writeVpdPage(bytes, cdb[2]!, facts) || -Sense.invalidFieldInCdb;
}

function tellSense(bytes: Uint8Array, cdb: Uint8Array, sense: number): number {
  if ((cdb[1]! & 1) === 0) {
    writeSense(bytes, 0, sense);
    return SENSE_BYTES;
  }
  writeDescriptorSense(bytes, sense);
  return DESCRIPTOR_SENSE_BYTES;
}

function tellLuns(bytes: Uint8Array, cdb: Uint8Array, target: number, { places }: UnitTable): number {
  const select = cdb[2]!;
  if (select > 2 || readU32(cdb, 6) < 16) return -Sense.invalidFieldInCdb;
  let at = 8;
  const add = (lun: number) => {
    bytes.fill(0, at, at + LUN_ENTRY_BYTES);
    writeU16(bytes, at, lunBytes(lun));
    at += LUN_ENTRY_BYTES;
  };
  // 1 asks for well-known units alone, of which there are none. LUN 0 is always there to be asked.
  if (select !== 1) {
    add(0);
    for (const place of places) if (targetOf(place) === target && lunOf(place) !== 0) add(lunOf(place));
  }
  writeU32(bytes, 0, at - 8);
  writeU32(bytes, 4, 0);
  return at;
}

function tellCapacity10(bytes: Uint8Array, cdb: Uint8Array, { facts }: ScsiUnit): number {
  const isPartial = (cdb[8]! & 1) !== 0;
  if (!isPartial && readU32(cdb, 2) !== 0) return -Sense.invalidFieldInCdb;
  writeU32(bytes, 0, Math.min(facts.blocks - 1, MAX_U32));
  writeU32(bytes, 4, facts.blockBytes);
  return 8;
}

function tellCapacity16(bytes: Uint8Array, { facts }: ScsiUnit): number {
  const { blocks, blockBytes, physicalBlockBytes, discards, zeroesDiscarded } = facts;
  bytes.fill(0, 0, CAPACITY16_BYTES);
  writeU64(bytes, 0, blocks - 1);
  writeU32(bytes, 8, blockBytes);
  bytes[13] = Math.log2(physicalBlockBytes / blockBytes);
  bytes[14] = (discards ? 0x80 : 0) | (zeroesDiscarded ? 0x40 : 0);
  return CAPACITY16_BYTES;
}

function tellMaintenance(bytes: Uint8Array, cdb: Uint8Array): number {
  switch (cdb[1]! & 0x1f) {
    case Action.reportOperationCodes:
      return writeOperationCodes(bytes, cdb);
    case Action.reportTaskManagement:
      // ABORT TASK, ABORT and CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK; then QUERY TASK SET and I_T NEXUS RESET.
      bytes.fill(0, 0, 4);
      bytes[0] = 0xdc;
      bytes[1] = 0x03;
      return 4;
    default:
      return -Sense.invalidFieldInCdb;
  }
}
