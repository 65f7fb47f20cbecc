/**
 * SCSI commands to be sent to two disks whose answers are compared: single ones by name, and random sequences.
 *
 * @module
 */

/** One command, as SG_IO takes it. */
export interface ScsiCommand {
  readonly name: string;
  readonly cdb: readonly number[];
  /** Bytes of the buffer for data-in. */
  readonly inBytes?: number;
  /** Data-out. */
  readonly out?: Uint8Array<ArrayBuffer>;
}

/** What one disk answered. Plain data. */
export interface ScsiAnswer {
  /** The status byte: 0 GOOD, 2 CHECK CONDITION. */
  readonly status: number;
  /** The kernel's own code for what did not reach the disk. */
  readonly hostStatus: number;
  /** Sense data in hexadecimal digits. */
  readonly sense: string;
  /** Bytes of the buffer that were not transferred. */
  readonly residual: number;
  /** Data-in in hexadecimal digits, what was transferred of it; a digest where it is long. */
  readonly data: string;
}

/** Bytes of a block of the disks that are compared. */
export const BLOCK_BYTES = 512;

const u16 = (value: number) => [value >>> 8 & 0xff, value & 0xff];
const u32 = (value: number) => [...u16(value >>> 16), ...u16(value & 0xffff)];
const u64 = (value: number) => [...u32(Math.floor(value / 0x1_0000_0000)), ...u32(value >>> 0)];

/** Commands that have a form for each length of CDB: its operation codes by that length. */
const READ = { 6: 0x08, 10: 0x28, 12: 0xa8, 16: 0x88 } as const;
const WRITE = { 6: 0x0a, 10: 0x2a, 12: 0xaa, 16: 0x8a } as const;
const VERIFY = { 10: 0x2f, 12: 0xaf, 16: 0x8f } as const;

type CdbBytes = 6 | 10 | 12 | 16;

/** A CDB of the given length for blocks from `lba` on; `flags` is its second byte. */
function blocks(operation: number, bytes: CdbBytes, lba: number, count: number, flags = 0): number[] {
  switch (bytes) {
    case 6:
      return [operation, lba >>> 16 & 0x1f, ...u16(lba & 0xffff), count & 0xff, 0];
    case 10:
      return [operation, flags, ...u32(lba), 0, ...u16(count), 0];
    case 12:
      return [operation, flags, ...u32(lba), ...u32(count), 0, 0];
    case 16:
      return [operation, flags, ...u64(lba), ...u32(count), 0, 0];
  }
}

function filled(byteLength: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: byteLength }, (_, at) => (at * 7 + (at >>> 9) * 13 + seed) & 0xff);
}

/** Parameters of UNMAP: length of data, length of descriptors, then the descriptors; either length may lie. */
function unmapList(
  ranges: readonly (readonly [lba: number, count: number])[],
  lies: { readonly dataBytes?: number; readonly descriptorBytes?: number } = {},
): Uint8Array<ArrayBuffer> {
  const descriptorBytes = 16 * ranges.length;
  return Uint8Array.from([
    ...u16(lies.dataBytes ?? descriptorBytes + 6),
    ...u16(lies.descriptorBytes ?? descriptorBytes),
    ...u32(0),
    ...ranges.flatMap(([lba, count]) => [...u64(lba), ...u32(count), ...u32(0)]),
  ]);
}

function unmap(name: string, out: Uint8Array<ArrayBuffer>, flags = 0, listBytes = out.length): ScsiCommand {
  return { name: `UNMAP ${name}`, cdb: [0x42, flags, ...u32(0), 0, ...u16(listBytes), 0], out };
}

/** Asks what the disk is: no command of these changes anything. */
function identity(): ScsiCommand[] {
  const inquiry = (name: string, evpd: number, page: number, alloc: number): ScsiCommand => {
    return { name: `INQUIRY ${name}`, cdb: [0x12, evpd, page, ...u16(alloc), 0], inBytes: alloc };
  };
  const pages = [0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2, 0xb3, 0x7f];
  const luns = (select: number, alloc: number): ScsiCommand => ({
    name: `REPORT LUNS select ${select} alloc ${alloc}`,
    cdb: [0xa0, 0, select, 0, 0, 0, ...u32(alloc), 0, 0],
    inBytes: alloc,
  });
  const capacity16 = (name: string, action: number, alloc: number): ScsiCommand => ({
    name: `READ CAPACITY(16) ${name}`,
    cdb: [0x9e, action, ...u64(0), ...u32(alloc), 0, 0],
    inBytes: alloc,
  });
  return [
    { name: "TEST UNIT READY", cdb: [0, 0, 0, 0, 0, 0] },
    { name: "REQUEST SENSE", cdb: [0x03, 0, 0, 0, 252, 0], inBytes: 252 },
    { name: "REQUEST SENSE alloc 4", cdb: [0x03, 0, 0, 0, 4, 0], inBytes: 4 },
    { name: "REQUEST SENSE descriptor format", cdb: [0x03, 1, 0, 0, 252, 0], inBytes: 252 },
    ...[0, 4, 36, 96, 255].map((alloc) => inquiry(`alloc ${alloc}`, 0, 0, alloc)),
    inquiry("page without EVPD", 0, 0x80, 96),
    ...pages.map((page) => inquiry(`page ${page.toString(16)}`, 1, page, 255)),
    inquiry("page b0 alloc 8", 1, 0xb0, 8),
    luns(0, 4096),
    luns(0, 16),
    luns(0, 8),
    luns(1, 256),
    luns(2, 256),
    luns(3, 256),
    { name: "READ CAPACITY(10)", cdb: [0x25, 0, ...u32(0), 0, 0, 0, 0], inBytes: 8 },
    { name: "READ CAPACITY(10) LBA without PMI", cdb: [0x25, 0, ...u32(1), 0, 0, 0, 0], inBytes: 8 },
    capacity16("", 0x10, 32),
    capacity16("alloc 12", 0x10, 12),
    capacity16("of another service action", 0x11, 32),
    ...modeSense(),
    { name: "REPORT SUPPORTED OPERATION CODES", cdb: [0xa3, 0x0c, 0, 0, 0, 0, ...u32(512), 0, 0], inBytes: 512 },
    { name: "REPORT TARGET PORT GROUPS", cdb: [0xa3, 0x0a, 0, 0, 0, 0, ...u32(512), 0, 0], inBytes: 512 },
    { name: "LOG SENSE", cdb: [0x4d, 0, 0x40, 0, 0, 0, 0, ...u16(252), 0], inBytes: 252 },
    { name: "GET LBA STATUS", cdb: [0x9e, 0x12, ...u64(0), ...u32(24), 0, 0], inBytes: 24 },
    { name: "PERSISTENT RESERVE IN", cdb: [0x5e, 0, 0, 0, 0, 0, 0, ...u16(8), 0], inBytes: 8 },
  ];
}

function modeSense(): ScsiCommand[] {
  const six = (name: string, flags: number, page: number, subpage: number, alloc: number): ScsiCommand => ({
    name: `MODE SENSE(6) ${name}`,
    cdb: [0x1a, flags, page, subpage, alloc, 0],
    inBytes: alloc,
  });
  const ten = (name: string, flags: number, page: number): ScsiCommand => ({
    name: `MODE SENSE(10) ${name}`,
    cdb: [0x5a, flags, page, 0, 0, 0, 0, ...u16(512), 0],
    inBytes: 512,
  });
  const kinds = [["current", 0x00], ["changeable", 0x40], ["default", 0x80], ["saved", 0xc0]] as const;
  return [
    ...kinds.map(([kind, bits]) => six(`caching page, ${kind}`, 0, 0x08 | bits, 0, 255)),
    ...kinds.map(([kind, bits]) => ten(`caching page, ${kind}`, 0, 0x08 | bits)),
    six("all pages", 0, 0x3f, 0, 255),
    six("all pages, alloc 4", 0, 0x3f, 0, 4),
    six("all pages without descriptor", 0x08, 0x3f, 0, 255),
    ten("all pages", 0, 0x3f),
    ten("all pages, long LBA", 0x10, 0x3f),
    six("error recovery page", 0, 0x01, 0, 255),
    six("control page", 0, 0x0a, 0, 255),
    six("unknown page", 0, 0x3e, 0, 255),
  ];
}

/** Commands without data, and such as are none. */
function withoutData(lastLba: number): ScsiCommand[] {
  const size = lastLba + 1;
  const plain = (name: string, ...cdb: number[]): ScsiCommand => ({ name, cdb });
  return [
    plain("SYNCHRONIZE CACHE(10)", ...blocks(0x35, 10, 0, 0)),
    plain("SYNCHRONIZE CACHE(16)", ...blocks(0x91, 16, 0, 0)),
    plain("START STOP UNIT start", 0x1b, 0, 0, 0, 1, 0),
    plain("START STOP UNIT stop", 0x1b, 0, 0, 0, 0, 0),
    plain("START STOP UNIT start again", 0x1b, 0, 0, 0, 1, 0),
    plain("PREVENT ALLOW MEDIUM REMOVAL allow", 0x1e, 0, 0, 0, 0, 0),
    plain("RESERVE(6)", 0x16, 0, 0, 0, 0, 0),
    plain("RELEASE(6)", 0x17, 0, 0, 0, 0, 0),
    plain("PRE-FETCH(10)", ...blocks(0x34, 10, 0, 8)),
    plain("VERIFY(10) without comparing", ...blocks(VERIFY[10], 10, 0, 8)),
    plain("VERIFY(16) without comparing, at the end", ...blocks(VERIFY[16], 16, lastLba, 1)),
    plain("VERIFY(10) beyond the end", ...blocks(VERIFY[10], 10, lastLba, 2)),
    plain("VERIFY(10) with VRPROTECT", ...blocks(VERIFY[10], 10, 0, 1, 0x20)),
    plain("READ(10) of no block", ...blocks(READ[10], 10, 0, 0)),
    plain("READ(10) of no block at the end", ...blocks(READ[10], 10, size, 0)),
    plain("READ(10) of no block beyond the end", ...blocks(READ[10], 10, size + 1, 0)),
    plain("WRITE(10) of no block", ...blocks(WRITE[10], 10, 0, 0)),
    plain("operation c0", 0xc0, 0, 0, 0, 0, 0),
    plain("operation 7f", 0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0, 0, 0, 0, 0, 0, 0, 0),
    plain("operation 02", 0x02, 0, 0, 0, 0, 0),
    plain("SEND DIAGNOSTIC self-test", 0x1d, 0x04, 0, 0, 0, 0),
    plain("REZERO UNIT", 0x01, 0, 0, 0, 0, 0),
    plain("FORMAT UNIT", 0x04, 0, 0, 0, 0, 0),
  ];
}

function reads(lastLba: number): ScsiCommand[] {
  const read = (name: string, cdb: readonly number[], inBytes: number): ScsiCommand => ({ name, cdb, inBytes });
  const lengths = [6, 10, 12, 16] as const;
  return [
    ...lengths.map((length) => read(`READ(${length})`, blocks(READ[length], length, 16, 8), 8 * BLOCK_BYTES)),
    read("READ(6) of 256 blocks", blocks(READ[6], 6, 0, 0), 256 * BLOCK_BYTES),
    ...([10, 12, 16] as const).flatMap((length) => [
      read(`READ(${length}) of the last block`, blocks(READ[length], length, lastLba, 1), BLOCK_BYTES),
      read(`READ(${length}) over the end`, blocks(READ[length], length, lastLba, 2), 2 * BLOCK_BYTES),
      read(`READ(${length}) with RDPROTECT`, blocks(READ[length], length, 0, 1, 0x20), BLOCK_BYTES),
    ]),
    read("READ(16) at 2^64 - 1", [READ[16], 0, ...Array<number>(8).fill(0xff), ...u32(2), 0, 0], 2 * BLOCK_BYTES),
    read("READ(10) into a larger buffer", blocks(READ[10], 10, 0, 1), 8 * BLOCK_BYTES),
    read("READ(10) into a smaller buffer", blocks(READ[10], 10, 0, 8), BLOCK_BYTES),
    read("READ(10) with NACA", [...blocks(READ[10], 10, 0, 1).slice(0, 9), 0x04], BLOCK_BYTES),
  ];
}

function writes(lastLba: number): ScsiCommand[] {
  const write = (name: string, cdb: readonly number[], count: number): ScsiCommand => {
    return { name, cdb, out: filled(count * BLOCK_BYTES, cdb.length) };
  };
  const look = (name: string, lba: number, count: number): ScsiCommand => {
    return { name: `then ${name}`, cdb: blocks(READ[16], 16, lba, count), inBytes: count * BLOCK_BYTES };
  };
  const lengths = [10, 12, 16] as const;
  const same = { 10: 0x41, 16: 0x93 } as const;
  return [
    write("WRITE(6)", blocks(WRITE[6], 6, 8, 8), 8),
    ...lengths.map((length) => write(`WRITE(${length})`, blocks(WRITE[length], length, 16 * length, 8), 8)),
    look("what the writes wrote", 0, 512),
    write("WRITE(10) over the end", blocks(WRITE[10], 10, lastLba, 2), 2),
    look("the last block, as it was", lastLba, 1),
    write("WRITE(10) with WRPROTECT", blocks(WRITE[10], 10, 0, 1, 0x20), 1),
    write("WRITE(10) from a smaller buffer", blocks(WRITE[10], 10, 300, 8), 1),
    write("WRITE(10) from a larger buffer", blocks(WRITE[10], 10, 310, 1), 8),
    look("block 300", 300, 1),
    look("block 310", 310, 1),
    look("block 311, which was not meant", 311, 1),
    write("WRITE(10) over all of them", blocks(WRITE[10], 10, 310, 8), 8),
    ...([10, 16] as const).flatMap((length) => [
      write(`WRITE SAME(${length})`, blocks(same[length], length, 400, 100), 1),
      { name: `WRITE SAME(${length}) of zeroes`, cdb: blocks(same[length], length, 420, 10), out: new Uint8Array(512) },
      {
        name: `WRITE SAME(${length}) UNMAP`,
        cdb: blocks(same[length], length, 440, 8, 0x08),
        out: new Uint8Array(512),
      },
      write(`WRITE SAME(${length}) over the end`, blocks(same[length], length, lastLba, 2), 1),
      write(`WRITE SAME(${length}) ANCHOR`, blocks(same[length], length, 400, 8, 0x18), 1),
      look(`what WRITE SAME(${length}) wrote`, 390, 120),
    ]),
    write("WRITE AND VERIFY(10)", blocks(0x2e, 10, 600, 8), 8),
    look("what it wrote", 600, 8),
    unmap("of one range", unmapList([[8, 16]])),
    unmap("of two ranges and none", unmapList([[400, 8], [500, 0], [416, 8]])),
    look("what is left", 0, 512),
    unmap("of no range", unmapList([])),
    unmap("without a list", unmapList([]), 0, 0),
    unmap("of 7 bytes", new Uint8Array(7)),
    unmap("over the end", unmapList([[lastLba, 2]])),
    unmap("of 15 bytes of descriptors", unmapList([[0, 8]], { descriptorBytes: 15 })),
    unmap("ANCHOR", unmapList([[0, 8]]), 0x01),
    look("what is left after the wrong ones", 0, 512),
    { name: "MODE SELECT(6) of nothing", cdb: [0x15, 0x10, 0, 0, 0, 0] },
    { name: "MODE SELECT(6) without PF", cdb: [0x15, 0, 0, 0, 4, 0], out: new Uint8Array(4) },
    { name: "MODE SELECT(6) that saves", cdb: [0x15, 0x11, 0, 0, 4, 0], out: new Uint8Array(4) },
    { name: "MODE SELECT(6) of 3 bytes", cdb: [0x15, 0x10, 0, 0, 3, 0], out: new Uint8Array(3) },
    { name: "COMPARE AND WRITE", cdb: [0x89, 0, ...u64(0), 0, 0, 0, 1, 0, 0], out: filled(2 * BLOCK_BYTES, 1) },
    { name: "PERSISTENT RESERVE OUT", cdb: [0x5f, 0, 0, 0, 0, ...u32(24), 0], out: new Uint8Array(24) },
  ];
}

/** The commands with names, in the order in which they are sent to a disk of `lastLba` + 1 blocks. */
export function namedCommands(lastLba: number): ScsiCommand[] {
  return [...identity(), ...withoutData(lastLba), ...reads(lastLba), ...writes(lastLba), ...reads(lastLba).slice(0, 5)];
}

/** A sequence of numbers by Marsaglia's xorshift; the same for the same seed. */
function* numbers(seed: number): Generator<(below: number) => number, never> {
  let state = seed >>> 0 || 1;
  const next = (below: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  for (;;) yield next;
}

/**
 * Random reads, writes, comparisons of ranges, WRITE SAME and UNMAP, now and then over an end of the disk or into a
 * buffer of another size: what both disks have to answer alike. The same for the same seed.
 */
export function randomCommands(lastLba: number, count: number, seed: number): ScsiCommand[] {
  const below = numbers(seed).next().value;
  return Array.from({ length: count }, (_, index) => randomCommand(lastLba, below, `random ${index}`));
}

function randomCommand(lastLba: number, below: (limit: number) => number, name: string): ScsiCommand {
  const bytes = ([10, 12, 16] as const)[below(3)]!;
  const many = 1 + below(32);
  // Most are near each other, so that they meet; some are at the end of the disk, and over it.
  const lba = below(8) === 0 ? lastLba - below(40) : below(1024);
  switch (below(8)) {
    case 0:
    case 1:
    case 2:
      return { name, cdb: blocks(READ[bytes], bytes, lba, many), inBytes: many * BLOCK_BYTES };
    case 3:
    case 4:
      return { name, cdb: blocks(WRITE[bytes], bytes, lba, many), out: filled(many * BLOCK_BYTES, below(256)) };
    case 5:
      return { name, cdb: blocks(VERIFY[bytes], bytes, Math.min(lba, lastLba - many), many) };
    case 6: {
      const pattern = below(2) === 0 ? new Uint8Array(BLOCK_BYTES) : filled(BLOCK_BYTES, below(256));
      return { name, cdb: blocks(0x93, 16, lba, many), out: pattern };
    }
    default:
      return { ...unmap("", unmapList(Array.from({ length: below(4) }, () => [below(1024), below(16)]))), name };
  }
}
