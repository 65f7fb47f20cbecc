/** libblkio's drivers, and what each takes as its address. */
export const BLKIO_DRIVERS: Readonly<Record<string, string>> = {
  "io_uring": "PATH",
  "nvme-io_uring": "PATH",
  "virtio-blk-vhost-user": "SOCKET",
  "virtio-blk-vhost-vdpa": "PATH",
  "virtio-blk-vfio-pci": "PCI",
};

/** A target, taken apart. */
export interface BlkioTarget {
  /** One of {@link BLKIO_DRIVERS}. */
  readonly driver: string;
  /** Value of the property `path`. */
  readonly path: string;
}

/** A PCI address with its domain, as lspci(8) -D prints it. */
const PCI_ADDRESS = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;

/** Takes `DRIVER:ADDRESS` apart; a path alone means the driver io_uring. Throws a RangeError that lists the drivers. */
export function parseBlkioTarget(target: string): BlkioTarget {
  if (/^[./]/.test(target) || (target !== "" && !target.includes(":"))) return { driver: "io_uring", path: target };
  const colon = target.indexOf(":");
  const driver = target.slice(0, Math.max(0, colon));
  const address = target.slice(colon + 1);
  if (!Object.hasOwn(BLKIO_DRIVERS, driver) || address === "") {
    const forms = Object.entries(BLKIO_DRIVERS).map(([name, what]) => `blkio:${name}:${what}`);
    throw new RangeError(`Cannot use target ${JSON.stringify(target)}: wanted ${forms.join(", ")}`);
  }
  const isPci = driver === "virtio-blk-vfio-pci" && PCI_ADDRESS.test(address);
  return { driver, path: isPci ? `/sys/bus/pci/devices/${address}` : address };
}
