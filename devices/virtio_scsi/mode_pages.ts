/**
 * Mode pages: MODE SENSE and MODE SELECT in both lengths (SPC-4, 6.11 and 7.5; SBC-3, 6.5).
 *
 * @module
 */
import { readU16, writeU16, writeU32 } from "./bytes.ts";
import { Sense } from "./sense.ts";
import type { UnitFacts } from "./unit_facts.ts";
import type { UnitState } from "./unit_state.ts";

const ERROR_RECOVERY = 0x01;
const CACHING = 0x08;
const CONTROL = 0x0a;
const EXCEPTIONS = 0x1c;
const ALL_PAGES = 0x3f;
const ALL_SUBPAGES = 0xff;

/** Bytes behind a page's two of code and length. */
const PAGE_BYTES: Readonly<Record<number, number>> = {
  [ERROR_RECOVERY]: 10,
  [CACHING]: 18,
  [CONTROL]: 10,
  [EXCEPTIONS]: 10,
};
const PAGES: readonly number[] = [ERROR_RECOVERY, CACHING, CONTROL, EXCEPTIONS];

/** Which values are asked for, in the two high bits of the page's byte; 2 are those at first. */
const CURRENT = 0;
const CHANGEABLE = 1;
const SAVED = 3;

const AWRE = 0x80;
const WCE = 0x04;
const SWP = 0x08;
const UNRESTRICTED_REORDERING = 0x10;
const DPOFUA = 0x10;
const WRITE_PROTECTED = 0x80;
const DESCRIPTOR_BYTES = 8;
const MAX_U32 = 0xffff_ffff;

/** Bytes of the header by the length of the CDB. */
const HEADER_BYTES = { 6: 4, 10: 8 } as const;

/** Length of the CDB. */
type ModeForm = 6 | 10;

/** A unit's facts and switches. */
interface ModeUnit {
  readonly facts: UnitFacts;
  readonly state: UnitState;
}

/** Writes the answer to MODE SENSE; returns its bytes, or sense data as a number below 0. */
export function writeModeSense(bytes: Uint8Array, cdb: Uint8Array, form: ModeForm, unit: ModeUnit): number {
  const page = cdb[2]! & 0x3f;
  const values = cdb[2]! >>> 6;
  const subpage = cdb[3]!;
  if (values === SAVED) return -Sense.savingUnsupported;
  if (subpage !== 0 && subpage !== ALL_SUBPAGES) return -Sense.invalidFieldInCdb;
  const pages = page === ALL_PAGES ? PAGES : [page];
  if (PAGE_BYTES[pages[0]!] === undefined) return -Sense.invalidFieldInCdb;
  const { facts, state } = unit;
  const header = HEADER_BYTES[form];
  const descriptor = (cdb[1]! & 0x08) === 0 ? DESCRIPTOR_BYTES : 0;
  let at = header + descriptor;
  for (const code of pages) at += writePage(bytes, at, code, values, state);
  bytes.fill(0, 0, header + descriptor);
  const deviceSpecific = DPOFUA | (facts.readOnly || state.protected ? WRITE_PROTECTED : 0);
  if (form === 6) {
    bytes[0] = at - 1;
    bytes[2] = deviceSpecific;
    bytes[3] = descriptor;
  } else {
    writeU16(bytes, 0, at - 2);
    bytes[3] = deviceSpecific;
    writeU16(bytes, 6, descriptor);
  }
  if (descriptor > 0) {
    writeU32(bytes, header, Math.min(facts.blocks, MAX_U32));
    writeU32(bytes, header + 4, facts.blockBytes);
  }
  return at;
}

function writePage(bytes: Uint8Array, at: number, page: number, values: number, state: UnitState): number {
  const length = PAGE_BYTES[page]!;
  bytes.fill(0, at, at + 2 + length);
  bytes[at] = page;
  bytes[at + 1] = length;
  const choose = (current: number, changeable: number, initial: number) =>
    values === CURRENT ? current : values === CHANGEABLE ? changeable : initial;
  const fixed = (value: number) => values === CHANGEABLE ? 0 : value;
  if (page === ERROR_RECOVERY) bytes[at + 2] = fixed(AWRE);
  else if (page === CACHING) {
    bytes[at + 2] = choose(state.writeBack ? WCE : 0, WCE, state.initiallyWriteBack ? WCE : 0);
  } else if (page === CONTROL) {
    bytes[at + 3] = fixed(UNRESTRICTED_REORDERING);
    bytes[at + 4] = choose(state.protected ? SWP : 0, SWP, 0);
  }
  return 2 + length;
}

/** The switches that MODE SELECT sets; those that it does not name stay. */
interface WantedModes {
  writeBack?: boolean;
  protect?: boolean;
}

/** What the parameters of MODE SELECT ask for, or why none of it can be done, as sense data. Changes nothing. */
export function readModes(
  list: Uint8Array,
  cdb: Uint8Array,
  form: ModeForm,
  { facts, state }: ModeUnit,
): WantedModes | number {
  // PF: pages are in the standard's format. SP: they are to be kept.
  if ((cdb[1]! & 0x11) !== 0x10) return Sense.invalidFieldInCdb;
  if (list.length === 0) return {};
  const header = HEADER_BYTES[form];
  if (list.length < header) return Sense.parameterListLength;
  const descriptor = form === 6 ? list[3]! : readU16(list, 6);
  if (descriptor !== 0 && descriptor !== DESCRIPTOR_BYTES) return Sense.invalidFieldInParameters;
  if (list.length < header + descriptor) return Sense.parameterListLength;
  if (descriptor > 0 && !isSameDescriptor(list, header, facts)) return Sense.invalidFieldInParameters;
  const wanted: WantedModes = {};
  for (let at = header + descriptor; at < list.length;) {
    if (at + 2 > list.length) return Sense.parameterListLength;
    const page = list[at]! & 0x3f;
    const length = list[at + 1]!;
    if ((list[at]! & 0xc0) !== 0 || PAGE_BYTES[page] !== length) return Sense.invalidFieldInParameters;
    if (at + 2 + length > list.length) return Sense.parameterListLength;
    if (!changesOnlySwitches(list.subarray(at, at + 2 + length), page, state)) return Sense.invalidFieldInParameters;
    if (page === CACHING) wanted.writeBack = (list[at + 2]! & WCE) !== 0;
    if (page === CONTROL) wanted.protect = (list[at + 4]! & SWP) !== 0;
    at += 2 + length;
  }
  return wanted;
}

/** A descriptor may name the size that the unit has, or none. */
function isSameDescriptor(list: Uint8Array, at: number, { blocks, blockBytes }: UnitFacts): boolean {
  const words = new DataView(list.buffer, list.byteOffset + at, DESCRIPTOR_BYTES);
  const count = words.getUint32(0);
  return (count === 0 || count === MAX_U32 || count === Math.min(blocks, MAX_U32)) &&
    (words.getUint32(4) & 0xff_ffff) === blockBytes;
}

function changesOnlySwitches(page: Uint8Array, code: number, state: UnitState): boolean {
  const now = new Uint8Array(page.length);
  const mask = new Uint8Array(page.length);
  writePage(now, 0, code, CURRENT, state);
  writePage(mask, 0, code, CHANGEABLE, state);
  for (let at = 2; at < page.length; at++) if (((page[at]! ^ now[at]!) & ~mask[at]!) !== 0) return false;
  return true;
}
