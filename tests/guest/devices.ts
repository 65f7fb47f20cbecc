/**
 * The guest's disks as data, and the command line of QEMU that makes them.
 *
 * @module
 */

/** A namespace of an NVMe controller. */
export interface NvmeNamespace {
  /** A raw image on the host. */
  readonly image: string;
  /** Bytes of a logical block, 512 if not given. */
  readonly blockBytes?: number;
  /** Bytes of metadata with each block, none if not given. */
  readonly metadataBytes?: number;
  /** I/O that touches this sector of 512 bytes of the image fails with EIO: QEMU's blkdebug. */
  readonly failingSector?: number;
  /** QEMU opens the image for reading only: the controller takes a write and fails it. */
  readonly readOnly?: boolean;
}

/** An NVMe controller with its namespaces, numbered from 1. */
export interface NvmeDevice {
  readonly kind: "nvme";
  readonly namespaces: readonly NvmeNamespace[];
  readonly serial?: string;
  /** The largest transfer is 4 KiB << mdts; 0 for no limit, 7 (512 KiB) if not given. */
  readonly mdts?: number;
  /** I/O queue pairs that the controller grants, 64 if not given. */
  readonly queuePairs?: number;
  /** Interrupt vectors, 65 if not given. */
  readonly vectors?: number;
  /** Behind a port of its own, from which it can be unplugged. */
  readonly pluggable?: boolean;
}

/** A virtio-blk disk that QEMU itself serves. */
export interface VirtioBlkDevice {
  readonly kind: "virtio-blk";
  readonly image: string;
  readonly serial?: string;
  readonly blockBytes?: number;
  readonly queues?: number;
  readonly readOnly?: boolean;
  readonly pluggable?: boolean;
}

/** A virtio-blk disk that another process serves over a vhost-user socket; the guest's memory is shared with it. */
export interface VhostUserBlkDevice {
  readonly kind: "vhost-user-blk";
  readonly socket: string;
  readonly queues?: number;
  readonly queueSize?: number;
  /** A page of its own for each queue's kicks. */
  readonly pagePerVq?: boolean;
  /** Wait for a server that comes back, this many seconds; without it a lost server breaks the disk. */
  readonly reconnectS?: number;
  readonly pluggable?: boolean;
}

/** A SCSI disk of {@link VirtioScsiDevice}. */
export interface ScsiDisk {
  /** A raw image on the host. */
  readonly image: string;
  /** 0 to 255, 0 if not given. */
  readonly target?: number;
  /** 0 to 16383, 0 if not given. */
  readonly lun?: number;
  readonly serial?: string;
}

/** A virtio-scsi adapter whose disks QEMU itself serves. */
export interface VirtioScsiDevice {
  readonly kind: "virtio-scsi";
  readonly disks: readonly ScsiDisk[];
  readonly queues?: number;
  readonly pluggable?: boolean;
}

/** A virtio-scsi adapter whose disks another process serves over a vhost-user socket; the guest's memory is shared. */
export interface VhostUserScsiDevice {
  readonly kind: "vhost-user-scsi";
  readonly socket: string;
  /** Request queues: one for each processor, if not given. */
  readonly queues?: number;
  /** Wait for a server that comes back, this many milliseconds between two looks; only later QEMUs than 9.1 take it. */
  readonly reconnectMs?: number;
  readonly pluggable?: boolean;
}

/** One disk, or one adapter with its disks. */
export type GuestDevice = NvmeDevice | VirtioBlkDevice | VhostUserBlkDevice | VirtioScsiDevice | VhostUserScsiDevice;

/** Adapter, disks, and the character devices that take single commands. */
const SCSI_MODULES = ["virtio_scsi", "sd_mod", "sg"];

/** The drivers that the guest's kernel loads for each kind. */
export const DEVICE_MODULES: Readonly<Record<GuestDevice["kind"], readonly string[]>> = {
  "nvme": ["nvme"],
  "virtio-blk": ["virtio_blk"],
  "vhost-user-blk": ["virtio_blk"],
  "virtio-scsi": SCSI_MODULES,
  "vhost-user-scsi": SCSI_MODULES,
};

/** Whether a server of another process has to see the guest's memory. */
export function sharesMemory({ kind }: GuestDevice): boolean {
  return kind === "vhost-user-blk" || kind === "vhost-user-scsi";
}

/** The first slot of the root bus that is ours; QEMU's own devices are below. */
const FIRST_SLOT = 0x10;
/** The last slot before those of the chip set. */
const LAST_SLOT = 0x1c;

/** QEMU's name of the n-th device, for `device_del`. */
export function deviceId(index: number): string {
  return `device${index}`;
}

/** The PCI address of the n-th device in the guest, as sysfs writes it. Firmware numbers the ports' buses in order. */
export function pciAddress(devices: readonly GuestDevice[], index: number): string {
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  if (!devices[index]?.pluggable) return `0000:00:${hex(FIRST_SLOT + index)}.0`;
  const ports = devices.slice(0, index).filter((device) => device.pluggable).length;
  return `0000:${hex(ports + 1)}:00.0`;
}

/** The PCI address of the port that the n-th device, a pluggable one, sits behind. */
export function portAddress(index: number): string {
  return `0000:00:${(FIRST_SLOT + index).toString(16)}.0`;
}

/** QEMU's arguments for the disks. */
export function deviceArguments(devices: readonly GuestDevice[]): string[] {
  if (devices.length > LAST_SLOT - FIRST_SLOT + 1) {
    throw new RangeError(
      `Cannot give the guest ${devices.length} disks: expected ${LAST_SLOT - FIRST_SLOT + 1} at most`,
    );
  }
  return devices.flatMap((device, index) => {
    const slot = `0x${(FIRST_SLOT + index).toString(16)}`;
    const id = deviceId(index);
    if (!device.pluggable) return oneDevice(device, id, [`id=${id}`, `bus=pcie.0,addr=${slot}`]);
    const port = `pcie-root-port,id=port${index},bus=pcie.0,addr=${slot},chassis=${index + 1},slot=${index + 1}`;
    return ["-device", port, ...oneDevice(device, id, [`id=${id}`, `bus=port${index}`])];
  });
}

function oneDevice(device: GuestDevice, id: string, place: string[]): string[] {
  switch (device.kind) {
    case "nvme":
      return nvme(device, id, place);
    case "virtio-blk": {
      const options = [
        ...given("serial", device.serial),
        ...given("logical_block_size", device.blockBytes),
        ...given("num-queues", device.queues),
      ];
      const drive = blockdev(`${id}-image`, device.image, device.readOnly);
      return [...drive, "-device", ["virtio-blk-pci", ...place, `drive=${id}-image`, ...options].join()];
    }
    case "vhost-user-blk": {
      const options = [
        ...given("num-queues", device.queues),
        ...given("queue-size", device.queueSize),
        ...given("page-per-vq", device.pagePerVq ? "on" : undefined),
      ];
      const socket = [
        `socket,id=${id}-socket`,
        `path=${escaped(device.socket)}`,
        ...given("reconnect", device.reconnectS),
      ];
      const args = ["vhost-user-blk-pci", ...place, `chardev=${id}-socket`, ...options];
      return ["-chardev", socket.join(), "-device", args.join()];
    }
    case "virtio-scsi":
      return virtioScsi(device, id, place);
    case "vhost-user-scsi": {
      const args = ["vhost-user-scsi-pci", ...place, `chardev=${id}-socket`, ...given("num_queues", device.queues)];
      const socket = [
        `socket,id=${id}-socket`,
        `path=${escaped(device.socket)}`,
        ...given("reconnect-ms", device.reconnectMs),
      ];
      return ["-chardev", socket.join(), "-device", args.join()];
    }
  }
}

function virtioScsi({ disks, queues }: VirtioScsiDevice, id: string, place: string[]): string[] {
  const adapter = ["virtio-scsi-pci", ...place, ...given("num_queues", queues)];
  return [
    ...["-device", adapter.join()],
    ...disks.flatMap(({ image, target = 0, lun = 0, serial }, index) => {
      const node = `${id}-image${index}`;
      const disk = ["scsi-hd", `bus=${id}.0,scsi-id=${target},lun=${lun},drive=${node}`, ...given("serial", serial)];
      return [...blockdev(node, image), "-device", disk.join()];
    }),
  ];
}

function nvme(device: NvmeDevice, id: string, place: string[]): string[] {
  const controller = [
    "nvme",
    ...place,
    `serial=${escaped(device.serial ?? id)}`,
    ...given("mdts", device.mdts),
    ...given("max_ioqpairs", device.queuePairs),
    ...given("msix_qsize", device.vectors),
  ];
  const namespaces = device.namespaces.flatMap((namespace, index) => {
    const node = `${id}-image${index + 1}`;
    const blockBytes = namespace.blockBytes ?? 512;
    const options = [
      "nvme-ns",
      `bus=${id}`,
      `drive=${node}`,
      `nsid=${index + 1}`,
      `logical_block_size=${blockBytes},physical_block_size=${blockBytes}`,
      ...given("ms", namespace.metadataBytes),
    ];
    const { image, readOnly, failingSector } = namespace;
    return [...blockdev(node, image, readOnly, failingSector), "-device", options.join()];
  });
  return ["-device", controller.join(), ...namespaces];
}

function blockdev(node: string, image: string, readOnly = false, failingSector?: number): string[] {
  const mode = readOnly ? "read-only=on" : "read-only=off,discard=unmap";
  const file = (at: string) => `${at}.driver=file,${at}.filename=${escaped(image)}`;
  const protocol = failingSector === undefined
    ? file("file")
    // Of an event that never comes, so that the rule holds at all times.
    : `file.driver=blkdebug,${file("file.image")},` +
      `file.inject-error.0.event=none,file.inject-error.0.sector=${failingSector}`;
  return ["-blockdev", `driver=raw,node-name=${node},${mode},${protocol}`];
}

function given(name: string, value: string | number | undefined): string[] {
  return value === undefined ? [] : [`${name}=${typeof value === "string" ? escaped(value) : value}`];
}

/** A comma separates QEMU's options; doubled it is one of the value. */
function escaped(value: string): string {
  return value.replaceAll(",", ",,");
}
