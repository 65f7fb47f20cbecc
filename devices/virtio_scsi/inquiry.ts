/**
 * What a unit says of itself: INQUIRY and its pages of vital product data (SPC-4, 6.6 and 7.8; SBC-3, 6.6).
 *
 * @module
 */
import { writeText, writeU16, writeU32, writeU64 } from "./bytes.ts";
import {
  MAX_SAME_BLOCKS,
  MAX_TRANSFER_BLOCKS,
  MAX_UNMAP_BLOCKS,
  MAX_UNMAP_RANGES,
  type UnitFacts,
} from "./unit_facts.ts";

/** Bytes of the standard data. */
const INQUIRY_BYTES = 74;

const VENDOR = "PLUGIO";
const VENDOR_BYTES = 8;
const PRODUCT = "DISK";
const PRODUCT_BYTES = 16;
const REVISION = "1.0";
const REVISION_BYTES = 4;

/** Qualifier and type, the first byte: a disk; none where there could be one; none where there will be none. */
export const Peripheral = { disk: 0x00, absent: 0x3f, impossible: 0x7f } as const;

const SPC4 = 0x06;
/** LUNs are written hierarchically, and the data has the format of 2. */
const HISUP_FORMAT = 0x12;
const CMDQUE = 0x02;
/** SAM-5, SPC-4, SBC-3: without the last, libiscsi takes the pages for those of an older disk. */
const VERSION_DESCRIPTORS = [0x00a0, 0x0460, 0x04c0];
const VERSION_DESCRIPTORS_AT = 58;

/** Pages of vital product data. */
const VpdPage = {
  supported: 0x00,
  serial: 0x80,
  identification: 0x83,
  extended: 0x86,
  limits: 0xb0,
  characteristics: 0xb1,
  provisioning: 0xb2,
} as const;

const PAGE_HEADER_BYTES = 4;
const LIMITS_BYTES = 0x3c;
const CHARACTERISTICS_BYTES = 0x3c;
const EXTENDED_BYTES = 0x3c;
const PROVISIONING_BYTES = 4;
/** Code set and kind of a designator: ASCII by the vendor, binary by NAA. */
const DESIGNATOR_VENDOR = [0x02, 0x01] as const;
const DESIGNATOR_NAA = [0x01, 0x03] as const;
const NAA_BYTES = 8;
const UGAVALID = 0x8000_0000;

/** Writes the standard data; returns its bytes. */
export function writeInquiry(bytes: Uint8Array, peripheral: number): number {
  bytes.fill(0, 0, INQUIRY_BYTES);
  bytes[0] = peripheral;
  bytes[2] = SPC4;
  bytes[3] = HISUP_FORMAT;
  bytes[4] = INQUIRY_BYTES - 5;
  bytes[7] = CMDQUE;
  writeText(bytes, 8, VENDOR, VENDOR_BYTES);
  writeText(bytes, 16, PRODUCT, PRODUCT_BYTES);
  writeText(bytes, 32, REVISION, REVISION_BYTES);
  VERSION_DESCRIPTORS.forEach((version, index) => writeU16(bytes, VERSION_DESCRIPTORS_AT + 2 * index, version));
  return INQUIRY_BYTES;
}

/** Writes a page of vital product data; returns its bytes, or 0 for a page that there is not. */
export function writeVpdPage(bytes: Uint8Array, page: number, facts: UnitFacts): number {
  // Longer than any page.
  bytes.fill(0, 0, 256);
  const length = writePageBody(bytes, page, facts);
  if (length < 0) return 0;
  bytes[1] = page;
  writeU16(bytes, 2, length);
  return PAGE_HEADER_BYTES + length;
}

/** Bytes behind the header of a page, or −1. */
function writePageBody(bytes: Uint8Array, page: number, facts: UnitFacts): number {
  switch (page) {
    case VpdPage.supported: {
      const pages = Object.values(VpdPage);
      bytes.set(pages, PAGE_HEADER_BYTES);
      return pages.length;
    }
    case VpdPage.serial:
      writeText(bytes, PAGE_HEADER_BYTES, facts.serial);
      return facts.serial.length;
    case VpdPage.identification:
      return writeDesignators(bytes, facts);
    case VpdPage.extended:
      // Byte 5: simple tasks. Byte 6: a volatile cache.
      bytes[5] = 0x01;
      bytes[6] = 0x01;
      return EXTENDED_BYTES;
    case VpdPage.limits:
      writeLimits(bytes, facts);
      return LIMITS_BYTES;
    case VpdPage.characteristics:
      writeU16(bytes, 4, facts.rotation);
      return CHARACTERISTICS_BYTES;
    case VpdPage.provisioning:
      if (facts.discards) {
        // UNMAP, and UNMAP of both WRITE SAMEs; then whether what was given back reads as zeroes.
        bytes[5] = 0xe0 | (facts.zeroesDiscarded ? 0x04 : 0);
        bytes[6] = 0x02;
      }
      return PROVISIONING_BYTES;
    default:
      return -1;
  }
}

function writeDesignators(bytes: Uint8Array, { serial, wwn }: UnitFacts): number {
  const nameBytes = VENDOR_BYTES + serial.length;
  let at = PAGE_HEADER_BYTES;
  bytes.set([...DESIGNATOR_VENDOR, 0, nameBytes], at);
  writeText(bytes, at + 4, VENDOR, VENDOR_BYTES);
  writeText(bytes, at + 4 + VENDOR_BYTES, serial);
  at += 4 + nameBytes;
  bytes.set([...DESIGNATOR_NAA, 0, NAA_BYTES], at);
  for (let index = 0; index < NAA_BYTES; index++) {
    bytes[at + 4 + index] = parseInt(wwn.slice(2 * index, 2 * index + 2), 16);
  }
  return at + 4 + NAA_BYTES - PAGE_HEADER_BYTES;
}

function writeLimits(bytes: Uint8Array, facts: UnitFacts): void {
  const { blockBytes, physicalBlockBytes, discards, discardBytes } = facts;
  // WSNZ: WRITE SAME of no blocks does not mean all of them.
  bytes[4] = 0x01;
  writeU16(bytes, 6, physicalBlockBytes / blockBytes);
  writeU32(bytes, 8, MAX_TRANSFER_BLOCKS);
  writeU64(bytes, 36, MAX_SAME_BLOCKS);
  if (!discards) return;
  writeU32(bytes, 20, MAX_UNMAP_BLOCKS);
  writeU32(bytes, 24, MAX_UNMAP_RANGES);
  writeU32(bytes, 28, Math.max(1, discardBytes / blockBytes));
  writeU32(bytes, 32, UGAVALID);
}
