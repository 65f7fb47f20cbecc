import { SECTOR_BYTES } from "../base/sizes.ts";
import { parseInteger, parseScheduler, type SchedulerChoice, ueventValue } from "./sysfs_text.ts";

/** Read access to /proc and /sys. What does not exist is null or empty. */
export interface SystemFiles {
  /** The text of a small file. */
  readText(path: string): string | null;
  /** Names in a folder. */
  list(path: string): readonly string[];
}

/** What /sys knows of a block device. Sizes in bytes; null where this device does not tell. */
export interface BlockFacts {
  /** Such as `/dev/sda1`. */
  readonly path: string;
  /** `major:minor`. */
  readonly deviceNumber: string;
  /** The disk, for a partition. */
  readonly partitionOf: string | null;
  /** Size in bytes. */
  readonly sizeBytes: number | null;
  /** Smallest unit that can be addressed. */
  readonly logicalBlockSize: number | null;
  /** Smallest unit that the device writes without reading first. */
  readonly physicalBlockSize: number | null;
  /** I/O schedulers; null for devices that have no queue of their own. */
  readonly scheduler: SchedulerChoice | null;
  /** Requests that the scheduler holds at most, `nr_requests`. */
  readonly requestCount: number | null;
  /** Whether completions can be polled for (`io_poll`), which IORING_SETUP_IOPOLL needs. */
  readonly pollQueues: boolean | null;
  /** `"write back"` means that only a flush makes writes durable. */
  readonly writeCache: string | null;
  /** True for disks that turn, and for virtual ones that say so. */
  readonly rotational: boolean | null;
  /** The device refuses writes. */
  readonly readOnly: boolean;
  /** Longest discard in bytes, 0 where the device has none. */
  readonly maxDiscardBytes: number | null;
  /** Vendor's name of the model. */
  readonly model: string | null;
  /** The file behind a loop device. */
  readonly backingFile: string | null;
}

/** Collects the facts of `major:minor`, or returns null where /sys knows no such block device. */
export function blockFacts(deviceNumber: string, system: SystemFiles): BlockFacts | null {
  const own = `/sys/dev/block/${deviceNumber}`;
  const name = deviceName(own, system);
  if (name === null) return null;
  // A partition has no queue of its own. The link is resolved before "..", so this is the disk's folder.
  const isPartition = system.readText(`${own}/partition`) !== null;
  const disk = isPartition ? `${own}/..` : own;
  const text = (path: string) => system.readText(`${disk}/${path}`)?.trim() || null;
  const integer = (path: string) => parseInteger(text(path));
  const flag = (path: string) => {
    const value = integer(path);
    return value === null ? null : value !== 0;
  };
  const sectors = parseInteger(system.readText(`${own}/size`));
  const scheduler = text("queue/scheduler");
  return {
    path: name,
    deviceNumber,
    partitionOf: isPartition ? deviceName(disk, system) : null,
    sizeBytes: sectors === null ? null : sectors * SECTOR_BYTES,
    logicalBlockSize: integer("queue/logical_block_size"),
    physicalBlockSize: integer("queue/physical_block_size"),
    scheduler: scheduler === null ? null : parseScheduler(scheduler),
    requestCount: integer("queue/nr_requests"),
    pollQueues: flag("queue/io_poll"),
    writeCache: text("queue/write_cache"),
    rotational: flag("queue/rotational"),
    readOnly: parseInteger(system.readText(`${own}/ro`)) === 1,
    maxDiscardBytes: integer("queue/discard_max_bytes"),
    model: text("device/model"),
    backingFile: text("loop/backing_file"),
  };
}

/** `/dev/NAME` of the device whose folder in /sys is given, or null. */
export function deviceName(folder: string, system: SystemFiles): string | null {
  const name = ueventValue(system.readText(`${folder}/uevent`) ?? "", "DEVNAME");
  return name === null ? null : `/dev/${name}`;
}
