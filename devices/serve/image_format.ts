import { StorageError } from "../../core/base/errors.ts";
import { closeFile, readAt, reopenFile } from "../../ffi/libc/mod.ts";
import type { BlockDevice } from "../../core/device/block_device.ts";

/** Bytes that are looked at on either end: as QEMU does at the start. */
const PROBE_BYTES = 512;

/** Signature of a VDI image, little-endian, and where it stands. */
const VDI_SIGNATURE = 0xbeda_107f;
const VDI_SIGNATURE_OFFSET = 0x40;

/** The footer of a VHD image, and the version of its format that every program writes. */
const VHD_COOKIE = "conectix";
const VHD_VERSION_OFFSET = 12;
const VHD_VERSION = 0x0001_0000;

/** Formats that are told by what an image begins with. */
const MAGICS: readonly (readonly [magic: string, format: string])[] = [
  ["QFI\xfb", "qcow2"],
  ["QED\0", "qed"],
  ["KDMV", "vmdk"],
  ["COWD", "vmdk"],
  ["# Disk DescriptorFile", "vmdk"],
  ["vhdxfile", "vhdx"],
  [VHD_COOKIE, "vhd"],
  ["WithoutFreeSpace", "parallels"],
  ["WithouFreSpacExt", "parallels"],
];

/** The format of an image of which `head` is the start and `tail` the last sector; null for one that may be raw. */
export function imageFormat(head: Uint8Array, tail: Uint8Array): string | null {
  const magic = MAGICS.find(([each]) => startsWith(head, each));
  // The first version of qcow has the same magic.
  if (magic !== undefined) return magic[1] === "qcow2" && u32(head, 4, false) === 1 ? "qcow" : magic[1];
  if (u32(head, VDI_SIGNATURE_OFFSET, true) === VDI_SIGNATURE) return "vdi";
  // A VHD of fixed size is raw but for its last sector, which the guest must not have.
  if (startsWith(tail, VHD_COOKIE) && u32(tail, VHD_VERSION_OFFSET, false) === VHD_VERSION) return "vhd";
  return null;
}

function startsWith(bytes: Uint8Array, magic: string): boolean {
  return bytes.length >= magic.length && Array.from(magic).every((char, at) => bytes[at] === char.charCodeAt(0));
}

function u32(bytes: Uint8Array, offset: number, littleEndian: boolean): number {
  if (bytes.length < offset + 4) return -1;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset, littleEndian);
}

/** Throws StorageError of kind `unsupported` when the image behind `device` is of a format that is not raw. */
export function refuseOtherFormats(device: BlockDevice): void {
  const { target, size } = device;
  const fd = reopenFile(device.fileFd, target);
  let format: string | null;
  try {
    const head = readAt(fd, 0, PROBE_BYTES, target);
    format = imageFormat(head, readAt(fd, Math.max(0, size - PROBE_BYTES), PROBE_BYTES, target));
  } finally {
    closeFile(fd, target);
  }
  if (format === null) return;
  throw new StorageError({
    kind: "unsupported",
    op: "serve",
    target,
    detail: `it is a ${format} image, of which a guest would see the bytes as they are; wanted a raw image ` +
      '(qemu-img convert -O raw), or --format raw (format: "raw") where that is meant',
  });
}
