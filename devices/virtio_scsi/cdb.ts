/**
 * The commands of a unit as a table: operation code, service action where it has them, and which bits of its descriptor
 * block (CDB) mean something.
 *
 * @module
 */
import { readU16, readU24, readU32, writeU16, writeU32 } from "./bytes.ts";
import { Sense } from "./sense.ts";

/** Operation codes. */
export const Op = {
  testUnitReady: 0x00,
  requestSense: 0x03,
  read6: 0x08,
  write6: 0x0a,
  inquiry: 0x12,
  modeSelect6: 0x15,
  reserve6: 0x16,
  release6: 0x17,
  modeSense6: 0x1a,
  startStopUnit: 0x1b,
  preventAllow: 0x1e,
  readCapacity10: 0x25,
  read10: 0x28,
  write10: 0x2a,
  writeVerify10: 0x2e,
  verify10: 0x2f,
  prefetch10: 0x34,
  synchronizeCache10: 0x35,
  writeSame10: 0x41,
  unmap: 0x42,
  modeSelect10: 0x55,
  modeSense10: 0x5a,
  read16: 0x88,
  write16: 0x8a,
  writeVerify16: 0x8e,
  verify16: 0x8f,
  prefetch16: 0x90,
  synchronizeCache16: 0x91,
  writeSame16: 0x93,
  serviceActionIn16: 0x9e,
  reportLuns: 0xa0,
  maintenanceIn: 0xa3,
  read12: 0xa8,
  write12: 0xaa,
  writeVerify12: 0xae,
  verify12: 0xaf,
} as const;

/** Service actions. */
export const Action = { readCapacity16: 0x10, reportOperationCodes: 0x0c, reportTaskManagement: 0x0d } as const;

/** Bytes of the longest descriptor block that a command here has. */
export const MAX_CDB_BYTES = 16;

interface Command {
  readonly op: number;
  readonly action: number | null;
  /** Its bytes: which bits of each are looked at. */
  readonly usage: Uint8Array;
}

/** `28 18 ff…` as a command; the first byte is the operation code, `action` is in its second. */
function command(usage: string, action: number | null = null): Command {
  const bytes = Uint8Array.from(usage.split(" "), (digits) => parseInt(digits, 16));
  return { op: bytes[0]!, action, usage: bytes };
}

const COMMANDS: readonly Command[] = [
  command("00 00 00 00 00 00"),
  command("03 01 00 00 ff 00"),
  command("08 1f ff ff ff 00"),
  command("0a 1f ff ff ff 00"),
  command("12 01 ff ff ff 00"),
  command("15 11 00 00 ff 00"),
  // One front end at a time is all the initiators that there are: whatever it reserves it has.
  command("16 00 00 00 00 00"),
  command("17 00 00 00 00 00"),
  command("1a 08 ff ff ff 00"),
  command("1b 00 00 00 00 00"),
  command("1e 00 00 00 00 00"),
  command("25 00 ff ff ff ff 00 00 01 00"),
  command("28 18 ff ff ff ff 00 ff ff 00"),
  command("2a 18 ff ff ff ff 00 ff ff 00"),
  command("2e 16 ff ff ff ff 00 ff ff 00"),
  command("2f 16 ff ff ff ff 00 ff ff 00"),
  command("34 02 ff ff ff ff 00 ff ff 00"),
  command("35 02 ff ff ff ff 00 ff ff 00"),
  command("41 08 ff ff ff ff 00 ff ff 00"),
  command("42 00 00 00 00 00 00 ff ff 00"),
  command("55 11 00 00 00 00 00 ff ff 00"),
  command("5a 18 ff ff 00 00 00 ff ff 00"),
  command("88 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
  command("8a 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
  command("8e 16 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
  command("8f 16 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
  command("90 02 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
  command("91 02 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
  command("93 09 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
  command("9e 10 00 00 00 00 00 00 00 00 ff ff ff ff 00 00", Action.readCapacity16),
  command("a0 00 ff 00 00 00 ff ff ff ff 00 00"),
  command("a3 0c 87 ff ff ff ff ff ff ff 00 00", Action.reportOperationCodes),
  command("a3 0d 80 00 00 00 ff ff ff ff 00 00", Action.reportTaskManagement),
  command("a8 18 ff ff ff ff ff ff ff ff 00 00"),
  command("aa 18 ff ff ff ff ff ff ff ff 00 00"),
  command("ae 16 ff ff ff ff ff ff ff ff 00 00"),
  command("af 16 ff ff ff ff ff ff ff ff 00 00"),
];

/** 1 for each operation code that there is. */
const KNOWN = new Uint8Array(256);
for (const { op } of COMMANDS) KNOWN[op] = 1;

/** Whether there is such a command, in any of its service actions. */
export function isKnown(op: number): boolean {
  return KNOWN[op] === 1;
}

/** Bytes of a descriptor block, by the group of its operation code (SPC-4, 4.2.5.1). */
export function cdbBytes(op: number): number {
  const group = op >>> 5;
  return group === 0 ? 6 : group <= 2 ? 10 : group === 4 ? 16 : group === 5 ? 12 : MAX_CDB_BYTES;
}

/** BYTCHK of VERIFY: what the medium is compared with. */
export const ByteCheck = { nothing: 0, each: 1, reserved: 2, same: 3 } as const;

/** Blocks that the command is about, without those that have another way of saying so. */
export function blockCount(cdb: Uint8Array, op: number): number {
  switch (cdbBytes(op)) {
    case 6:
      // 0 is 256 there.
      return cdb[4] || 256;
    case 10:
      return readU16(cdb, 7);
    case 12:
      return readU32(cdb, 6);
    default:
      return readU32(cdb, 10);
  }
}

/** The BYTCHK bits of a VERIFY, or of a WRITE AND VERIFY. */
export function byteCheck(cdb: Uint8Array): number {
  return cdb[1]! >>> 1 & 3;
}

/** Bytes of data that a command goes on, below 0 for data-out: what buffers are checked against before anything is done. */
export function expectedBytes(cdb: Uint8Array, blockBytes: number): number {
  const op = cdb[0]!;
  switch (op) {
    case Op.read6:
    case Op.read10:
    case Op.read12:
    case Op.read16:
      return blockCount(cdb, op) * blockBytes;
    case Op.write6:
    case Op.write10:
    case Op.write12:
    case Op.write16:
    case Op.writeVerify10:
    case Op.writeVerify12:
    case Op.writeVerify16:
      return -blockCount(cdb, op) * blockBytes;
    case Op.verify10:
    case Op.verify12:
    case Op.verify16:
      return byteCheck(cdb) === ByteCheck.each
        ? -blockCount(cdb, op) * blockBytes
        : byteCheck(cdb) === ByteCheck.same && blockCount(cdb, op) > 0
        ? -blockBytes
        : 0;
    case Op.writeSame10:
      return -blockBytes;
    case Op.writeSame16:
      // NDOB: there is no block, zeroes are meant.
      return (cdb[1]! & 0x01) === 0 ? -blockBytes : 0;
    case Op.inquiry:
      return readU16(cdb, 3);
    case Op.requestSense:
    case Op.modeSense6:
      return cdb[4]!;
    case Op.modeSelect6:
      return -cdb[4]!;
    case Op.readCapacity10:
      return 8;
    case Op.unmap:
    case Op.modeSelect10:
      return -readU16(cdb, 7);
    case Op.modeSense10:
      return readU16(cdb, 7);
    case Op.serviceActionIn16:
      return readU32(cdb, 10);
    case Op.reportLuns:
    case Op.maintenanceIn:
      return readU32(cdb, 6);
    default:
      return 0;
  }
}

/** First block of a command of 6 bytes. */
export function lba6(cdb: Uint8Array): number {
  return readU24(cdb, 1) & 0x1f_ffff;
}

const COMMAND_BYTES = 8;
const TIMEOUT_BYTES = 12;
const ALL_OPS = 0;
const ONE_OP = 1;
const ONE_ACTION = 2;
const ONE_EITHER = 3;
/** SUPPORT: not there; there as the standard has it. */
const ABSENT = 1;
const PRESENT = 3;

/** Writes the answer to REPORT SUPPORTED OPERATION CODES; returns its bytes, or sense data below 0. */
export function writeOperationCodes(bytes: Uint8Array, cdb: Uint8Array): number {
  const withTimeouts = (cdb[2]! & 0x80) !== 0;
  const option = cdb[2]! & 7;
  if (option === ALL_OPS) return writeAll(bytes, withTimeouts);
  if (option > ONE_EITHER) return -Sense.invalidFieldInCdb;
  const op = cdb[3]!;
  const action = readU16(cdb, 4);
  const candidates = COMMANDS.filter((command) => command.op === op);
  const hasActions = candidates.some((command) => command.action !== null);
  // One that has service actions is asked for by them, and no other.
  if (option === ONE_OP && hasActions) return -Sense.invalidFieldInCdb;
  if (option === ONE_ACTION && candidates.length > 0 && !hasActions) return -Sense.invalidFieldInCdb;
  const found = candidates.find((command) =>
    command.action === null ? action === 0 || option === ONE_OP : command.action === action
  );
  const usage = found?.usage ?? new Uint8Array(0);
  bytes.fill(0, 0, 4);
  bytes[1] = (found === undefined ? ABSENT : PRESENT) | (withTimeouts && found !== undefined ? 0x80 : 0);
  writeU16(bytes, 2, usage.length);
  bytes.set(usage, 4);
  const at = 4 + usage.length;
  if (!withTimeouts || found === undefined) return at;
  writeTimeouts(bytes, at);
  return at + TIMEOUT_BYTES;
}

function writeAll(bytes: Uint8Array, withTimeouts: boolean): number {
  let at = 4;
  for (const { op, action, usage } of COMMANDS) {
    bytes.fill(0, at, at + COMMAND_BYTES);
    bytes[at] = op;
    writeU16(bytes, at + 2, action ?? 0);
    // CTDP: a descriptor of times follows. SERVACTV: there is a service action.
    bytes[at + 5] = (withTimeouts ? 2 : 0) | (action === null ? 0 : 1);
    writeU16(bytes, at + 6, usage.length);
    at += COMMAND_BYTES;
    if (!withTimeouts) continue;
    writeTimeouts(bytes, at);
    at += TIMEOUT_BYTES;
  }
  writeU32(bytes, 0, at - 4);
  return at;
}

/** No time is promised. */
function writeTimeouts(bytes: Uint8Array, at: number): void {
  bytes.fill(0, at, at + TIMEOUT_BYTES);
  writeU16(bytes, at, TIMEOUT_BYTES - 2);
}
