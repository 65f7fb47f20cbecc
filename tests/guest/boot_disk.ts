/**
 * Disks that firmware boots from: a BIOS's boot sector, and a FAT file system with a program for UEFI. What they load
 * writes a text to the serial port and ends the machine.
 *
 * @module
 */

const SECTOR_BYTES = 512;
const encoder = new TextEncoder();

/** Where a machine listens that ends with what is written there: QEMU's isa-debug-exit. */
export const EXIT_PORT = 0xf4;

/** What is written there. */
const EXIT_VALUE = 0x10;

/** QEMU's exit code then; 1 is what it ends with when it does not start. */
export const EXIT_CODE: number = EXIT_VALUE << 1 | 1;

/** The serial port's data register. */
const SERIAL_PORT = 0x3f8;

const u16 = (value: number) => [value & 0xff, value >> 8 & 0xff];
const u32 = (value: number) => [...u16(value & 0xffff), ...u16(value >>> 16)];

/** Code, the same for 16 and 64 bits: writes the bytes from (R)SI on up to a 0 to the serial port, then ends the machine. */
function sayAndExit(immediate: (value: number) => number[]): number[] {
  const set = (opcode: number, value: number) => [opcode, ...immediate(value)];
  return [
    ...set(0xba, SERIAL_PORT), // mov (e)dx, port
    ...[0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8], // next: lodsb; test al, al; jz done; out dx, al; jmp next
    ...set(0xba, EXIT_PORT), // done: mov (e)dx, port
    ...[0xb0, EXIT_VALUE, 0xee, 0xeb, 0xfe], // mov al, value; out dx, al; jmp $
  ];
}

/** Sector of a BIOS disk to which its boot sector copies the text. */
export const COPY_SECTOR = 5;
/** Sector that the text comes from. */
const TEXT_SECTOR = 3;
/** Where a BIOS loads the boot sector, and where that puts the text. */
const BOOT_ADDRESS = 0x7c00;
const TEXT_ADDRESS = 0x8000;

/**
 * A disk for a BIOS. Its boot sector reads the sector with the text, writes it to {@link COPY_SECTOR} and says it, all
 * through the BIOS's disk service, which is the firmware's own driver.
 */
export function biosDisk(text: string, byteLength: number): Uint8Array<ArrayBuffer> {
  const disk = new Uint8Array(byteLength);
  const packetOf = (code: number) => BOOT_ADDRESS + code;
  const transfer = (packet: number, service: number) => [
    ...[0xbe, ...u16(packet)], // mov si, packet
    ...[0xb8, ...u16(service << 8)], // mov ax, service
    ...[0xcd, 0x13], // int 13h: the drive is in dl since the start
  ];
  const start = [0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, ...u16(BOOT_ADDRESS)]; // ds = es = ss = 0, sp
  const say = [0xbe, ...u16(TEXT_ADDRESS), ...sayAndExit(u16)];
  const transferBytes = transfer(0, 0).length;
  const packets = start.length + 2 * transferBytes + say.length;
  const PACKET_BYTES = 16;
  // Disk address packet: its size, sectors, offset and segment of the memory, first sector.
  const packet = (
    sector: number,
  ) => [PACKET_BYTES, 0, ...u16(1), ...u16(TEXT_ADDRESS), ...u16(0), ...u32(sector), ...u32(0)];
  disk.set([
    ...start,
    ...transfer(packetOf(packets), 0x42),
    ...transfer(packetOf(packets + PACKET_BYTES), 0x43),
    ...say,
    ...packet(TEXT_SECTOR),
    ...packet(COPY_SECTOR),
  ]);
  disk.set([0x55, 0xaa], SECTOR_BYTES - 2);
  disk.set(encoder.encode(text), TEXT_SECTOR * SECTOR_BYTES);
  return disk;
}

/** A program for UEFI on x86-64: headers and one section, as PE and COFF want them. */
function uefiProgram(text: string): Uint8Array<ArrayBuffer> {
  const ALIGN = 0x1000;
  const lea = [0x48, 0x8d, 0x35]; // lea rsi, [rip + ...]
  const say = sayAndExit(u32);
  const code = [...lea, ...u32(say.length), ...say, ...encoder.encode(text), 0];
  const PE_AT = 0x40;
  const OPTIONAL_BYTES = 0xf0;
  const MACHINE_X64 = 0x8664;
  // Executable, 64 bits, line numbers and symbols stripped.
  const CHARACTERISTICS = 0x22e;
  const PE32_PLUS = 0x20b;
  const UEFI_APPLICATION = 10;
  const CODE = 0x6000_0020;
  const optional = [
    ...[...u16(PE32_PLUS), 0, 0, ...u32(ALIGN), ...u32(0), ...u32(0)], // sizes of code and data
    ...[...u32(ALIGN), ...u32(ALIGN)], // entry point, base of code
    ...[...u32(0), ...u32(0)], // image base: anywhere
    ...[...u32(ALIGN), ...u32(ALIGN)], // alignment in memory and in the file
    ...[...u32(0), ...u32(0), ...u32(0), ...u32(0)], // versions, reserved
    ...[...u32(2 * ALIGN), ...u32(ALIGN), ...u32(0)], // size of image and headers, checksum
    ...[...u16(UEFI_APPLICATION), ...u16(0)],
    ...new Array<number>(32).fill(0), // stack and heap
    ...[...u32(0), ...u32(16)], // loader flags, data directories
  ];
  const section = [
    ...[...encoder.encode(".text\0\0\0"), ...u32(ALIGN), ...u32(ALIGN), ...u32(ALIGN), ...u32(ALIGN)],
    ...[...u32(0), ...u32(0), ...u32(0), ...u32(CODE)],
  ];
  const program = new Uint8Array(2 * ALIGN);
  program.set(encoder.encode("MZ"));
  program.set(u32(PE_AT), 0x3c);
  program.set([
    ...[...encoder.encode("PE\0\0"), ...u16(MACHINE_X64), ...u16(1), ...u32(0), ...u32(0), ...u32(0)],
    ...[...u16(OPTIONAL_BYTES), ...u16(CHARACTERISTICS)],
    ...optional,
  ], PE_AT);
  program.set(section, PE_AT + 24 + OPTIONAL_BYTES);
  program.set(code, ALIGN);
  return program;
}

/** Of the file system: one cluster a sector, one table of 12-bit entries. */
const FAT_SECTORS = 9;
const ROOT_ENTRIES = 112;
const ENTRY_BYTES = 32;
const FAT_DISK_SECTORS = 2880;
const FIRST_CLUSTER = 2;
const LAST = 0xfff;
const DIRECTORY = 0x10;
const ARCHIVE = 0x20;

/** A directory's entry; `name` is 11 characters, filled up with blanks. */
function directoryEntry(name: string, attributes: number, cluster: number, byteLength = 0): number[] {
  return [...encoder.encode(name), attributes, ...new Array<number>(14).fill(0), ...u16(cluster), ...u32(byteLength)];
}

/** A disk for UEFI: a FAT file system whose `\EFI\BOOT\BOOTX64.EFI` says the text. */
export function uefiDisk(text: string): Uint8Array<ArrayBuffer> {
  const program = uefiProgram(text);
  const disk = new Uint8Array(FAT_DISK_SECTORS * SECTOR_BYTES);
  const [efi, boot, file] = [FIRST_CLUSTER, FIRST_CLUSTER + 1, FIRST_CLUSTER + 2];
  const fileClusters = program.length / SECTOR_BYTES;
  disk.set([
    ...[0xeb, 0x3c, 0x90, ...encoder.encode("PLUGIO  "), ...u16(SECTOR_BYTES), 1], // one sector a cluster
    ...[...u16(1), 1, ...u16(ROOT_ENTRIES), ...u16(FAT_DISK_SECTORS), 0xf8, ...u16(FAT_SECTORS)],
    ...[...u16(18), ...u16(2), ...u32(0), ...u32(0)], // geometry, nothing in front of it
    ...[0x80, 0, 0x29, ...u32(0x706c7567), ...encoder.encode("PLUGIO     FAT12   ")],
  ]);
  disk.set([0x55, 0xaa], SECTOR_BYTES - 2);
  const next = [0xff8, LAST, LAST, LAST];
  for (let index = 0; index < fileClusters; index++) {
    next[file + index] = index + 1 < fileClusters ? file + index + 1 : LAST;
  }
  for (let index = 0; index < next.length; index += 2) {
    const [low, high] = [next[index]!, next[index + 1] ?? 0];
    disk.set([low & 0xff, low >> 8 | (high & 0xf) << 4, high >> 4], SECTOR_BYTES + index / 2 * 3);
  }
  const rootAt = (1 + FAT_SECTORS) * SECTOR_BYTES;
  const clusterAt = (cluster: number) => rootAt + ROOT_ENTRIES * ENTRY_BYTES + (cluster - FIRST_CLUSTER) * SECTOR_BYTES;
  const links = (own: number, above: number) => [
    ...directoryEntry(".          ", DIRECTORY, own),
    ...directoryEntry("..         ", DIRECTORY, above),
  ];
  disk.set(directoryEntry("EFI        ", DIRECTORY, efi), rootAt);
  disk.set([...links(efi, 0), ...directoryEntry("BOOT       ", DIRECTORY, boot)], clusterAt(efi));
  disk.set([...links(boot, efi), ...directoryEntry("BOOTX64 EFI", ARCHIVE, file, program.length)], clusterAt(boot));
  disk.set(program, clusterAt(file));
  return disk;
}
