import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { cString } from "../libc/mod.ts";
import { loadLibrary } from "../loader.ts";
import { VNV_CONSTANTS as V, VNV_INFO, VNV_RANGE } from "./layout.ts";
import { VFIO_NVME_SYMBOLS, vfioNvmeLibrary } from "./symbols.ts";

export * from "./layout.ts";

/** I/O virtual addresses that a device may use; both ends included. */
export interface IovaRange {
  /** First address. */
  readonly first: number;
  /** Last address. */
  readonly last: number;
}

/**
 * A controller as the driver sees it: registers, DMA mappings, interrupts, reset. An interface, so that a test can put
 * a controller that misbehaves behind the same driver. Disposing resets the controller and closes it.
 */
export interface ControllerPort extends Disposable {
  /** PCI address, `0000:01:00.0`. */
  readonly address: string;
  /** Bytes of registers and doorbells. */
  readonly registerBytes: number;
  /** Interrupt vectors of the device that can be used. */
  readonly vectorCount: number;
  /** Where DMA mappings may lie. */
  readonly iovaRanges: readonly IovaRange[];
  /** DMA mappings that the kernel takes at most. */
  readonly mappingLimit: number;
  /** How the kernel translates: `"type1"` or `"iommufd"`. */
  readonly iommu: string;
  /** True after dispose: all mappings are gone. */
  readonly closed: boolean;
  /** Reads a register of 32 bits, unsigned; all ones where there is no device any more. */
  load(offset: number): number;
  /** Writes a register of 32 bits: what was stored to memory before is visible to the device first. */
  store(offset: number, value: number): void;
  /** Lets the device access `memory` at `iova`. Returns 0 or −errno. */
  map(memory: OwnedMemory, iova: number): number;
  /** Ends the access. Returns 0 or −errno; on an error the memory must stay. */
  unmap(byteLength: number, iova: number): number;
  /** Lets vectors from `first` on signal these eventfds, −1 for none. The first call sets the number. 0 or −errno. */
  setVectors(first: number, eventFds: readonly number[]): number;
  /**
   * Lets the kernel signal this eventfd when it wants the device back, because it is unplugged or taken from VFIO. It
   * waits until this port is disposed of. Returns 0 or −errno.
   */
  setRequestFd(eventFd: number): number;
  /** Allows or forbids the device to access memory and to interrupt. Returns 0 or −errno. */
  setBusMaster(on: boolean): number;
  /** Resets the function. Returns 0 or −errno; ENOTTY for a device without such a reset. */
  reset(): number;
  /** Waits for an eventfd, at most `timeoutMs`; what it held, 0 when the time was up. */
  wait(eventFd: number, timeoutMs: number): number;
}

/** Addresses above this one are not used: they would not be exact in a double. */
const MAX_IOVA = Number.MAX_SAFE_INTEGER;

/** DMA mappings where the kernel does not tell: the default of vfio_iommu_type1's dma_entry_limit. */
const DEFAULT_MAPPING_LIMIT = 65535;

/** What a register reads when there is no device behind it. */
const ALL_ONES = 0xffff_ffff;

/**
 * A reset that fails like this leaves nothing that could write: the controller was pulled out (ENODEV, EIO), or the
 * kernel has it locked because it is about to remove it (EAGAIN), and bus mastering is off already.
 */
const NO_RESET: readonly number[] = [Errno.ENODEV, Errno.EIO, Errno.EAGAIN];

/** What opening was about when it failed, by stage, with what is wanted. */
const STAGES: Readonly<Record<number, readonly [what: string, wanted: string]>> = {
  [V.VNV_STAGE_ADDRESS.value]: ["there is no such PCI device", "an address as in /sys/bus/pci/devices"],
  [V.VNV_STAGE_GROUP.value]: ["it is in no IOMMU group", "an IOMMU that is switched on"],
  [V.VNV_STAGE_DRIVER.value]: ["its IOMMU group has no node in /dev/vfio", "the device bound to vfio-pci"],
  [V.VNV_STAGE_CONTAINER.value]: ["/dev/vfio/vfio cannot be used", "the module vfio-pci and permission to open it"],
  [V.VNV_STAGE_OPEN.value]: ["its node in /dev/vfio cannot be opened", "permission, and no other user of the group"],
  [V.VNV_STAGE_VIABLE.value]: ["its IOMMU group is not viable", "no device of the group bound to another driver"],
  [V.VNV_STAGE_ATTACH.value]: ["it cannot be attached to the IOMMU", "an IOMMU that isolates interrupts"],
  [V.VNV_STAGE_DEVICE.value]: ["it does not answer", "a device that works"],
  [V.VNV_STAGE_BAR.value]: ["its registers cannot be mapped", "an NVMe controller with memory in BAR 0"],
};

/** A real controller through VFIO. Belongs to the Worker that opened it: the end of its thread resets the controller. */
export class VfioController implements ControllerPort {
  readonly address: string;
  readonly registerBytes: number;
  readonly vectorCount: number;
  readonly iovaRanges: readonly IovaRange[];
  readonly mappingLimit: number;
  readonly iommu: string;
  readonly #lib: Deno.StaticForeignLibraryInterface<typeof VFIO_NVME_SYMBOLS>;
  readonly #loaded = new Uint32Array(1);
  readonly #counted = new BigUint64Array(1);
  #handle: Deno.PointerValue;

  /** Opens the controller at `address`. Throws StorageError that names the step, its errno and what is wanted. */
  constructor(address: string) {
    this.#lib = loadLibrary(vfioNvmeLibrary(), VFIO_NVME_SYMBOLS).symbols;
    const handle = new BigUint64Array(1);
    const info = new Uint8Array(VNV_INFO.byteLength);
    const error = this.#lib.vnv_open(cString(address), 0, handle, info);
    const view = new DataView(info.buffer);
    const field = (name: keyof typeof VNV_INFO.fields) => view.getUint32(VNV_INFO.fields[name].offset, true);
    if (error < 0) throw openError(address, -error, field("stage"));
    this.address = address;
    this.registerBytes = field("barBytes");
    this.vectorCount = field("vectorCount");
    this.mappingLimit = field("mappingLimit") || DEFAULT_MAPPING_LIMIT;
    this.iommu = field("backend") === V.VNV_IOMMUFD.value ? "iommufd" : "type1";
    this.iovaRanges = readRanges(view, field("rangeCount"));
    this.#handle = Deno.UnsafePointer.create(handle[0]!);
  }

  get closed(): boolean {
    return this.#handle === null;
  }

  load(offset: number): number {
    if (this.#handle === null || this.#lib.vnv_load32(this.#handle, offset, this.#loaded) < 0) return ALL_ONES;
    return this.#loaded[0]!;
  }

  store(offset: number, value: number): void {
    if (this.#handle === null) return;
    const error = this.#lib.vnv_store32(this.#handle, offset, value >>> 0);
    if (error < 0) throw this.#error("io", `store to register 0x${offset.toString(16)} of`, -error);
  }

  map(memory: OwnedMemory, iova: number): number {
    if (this.#handle === null) return -Errno.ENODEV;
    return this.#lib.vnv_map(this.#handle, memory.bytes, BigInt(memory.byteLength), BigInt(iova));
  }

  unmap(byteLength: number, iova: number): number {
    if (this.#handle === null) return 0;
    return this.#lib.vnv_unmap(this.#handle, BigInt(byteLength), BigInt(iova));
  }

  setVectors(first: number, eventFds: readonly number[]): number {
    if (this.#handle === null) return -Errno.ENODEV;
    return this.#lib.vnv_vectors(this.#handle, first, eventFds.length, Int32Array.from(eventFds));
  }

  setRequestFd(eventFd: number): number {
    if (this.#handle === null) return -Errno.ENODEV;
    return this.#lib.vnv_on_request(this.#handle, eventFd);
  }

  setBusMaster(on: boolean): number {
    if (this.#handle === null) return -Errno.ENODEV;
    return this.#lib.vnv_bus_master(this.#handle, on ? 1 : 0);
  }

  reset(): number {
    return this.#handle === null ? -Errno.ENODEV : this.#lib.vnv_reset(this.#handle);
  }

  wait(eventFd: number, timeoutMs: number): number {
    const error = this.#lib.vnv_wait(eventFd, timeoutMs, this.#counted);
    if (error < 0) throw this.#error("io", "wait for an interrupt of", -error);
    return Number(this.#counted[0]!);
  }

  /** Bus mastering off, function reset, all DMA mappings ended; harmless when done twice. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    const error = this.#lib.vnv_close(handle);
    if (error < 0 && !NO_RESET.includes(-error)) throw this.#error("io", "reset", -error);
  }

  #error(kind: "io", op: string, errno: number): StorageError {
    return new StorageError({ kind, op, target: this.address, errno });
  }
}

function openError(address: string, errno: number, stage: number): StorageError {
  const [what, wanted] = STAGES[stage] ?? ["no thread-local storage is left", "fewer libraries in this process"];
  const kind = errno === Errno.ENOMEM || errno === Errno.EMFILE ? "resource" : "open";
  const detail = `${what}; wanted ${wanted}. \`deno run -P cli.ts nvme doctor ${address}\` tells more`;
  return new StorageError({ kind, op: "open", target: address, errno, detail });
}

function readRanges(view: DataView, count: number): IovaRange[] {
  if (count === 0) return [{ first: 0, last: MAX_IOVA }];
  return Array.from({ length: count }, (_, index) => {
    const at = VNV_INFO.fields.ranges.offset + index * VNV_RANGE.byteLength;
    const end = (offset: number) => Math.min(MAX_IOVA, Number(view.getBigUint64(at + offset, true)));
    return { first: end(VNV_RANGE.fields.first.offset), last: end(VNV_RANGE.fields.last.offset) };
  });
}
