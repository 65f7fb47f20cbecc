import type { ServeBlkOptions } from "../../devices/serve/mod.ts";
import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { type BlockDevice, openDevice, StorageError } from "../../mod.ts";
import { failed } from "../failure.ts";
import type { ServePlan } from "./options.ts";

/** How a disk is opened. */
export type OpenPlan = Pick<
  ServePlan,
  "target" | "driver" | "direct" | "directAsked" | "readOnly" | "batch" | "logicalBlockSize"
>;

/** Opens the disk of a plan. The one that is opened first claims a block device, so that the kernel refuses to mount it meanwhile. */
export function openServed(
  plan: Omit<OpenPlan, "directAsked" | "logicalBlockSize">,
  claim: boolean,
): Promise<BlockDevice> {
  return openDevice(plan.target, {
    ...(plan.driver === null ? {} : { driver: plan.driver }),
    direct: plan.direct,
    readOnly: plan.readOnly,
    exclusive: claim && !plan.readOnly,
    batch: plan.batch,
    // Guest memory is not registered with the ring, and tables of segments are few.
    wait: "event",
  });
}

/** What the server itself is told of a plan; it knows no other options. */
export function serveOptionsOf(plan: ServePlan, log: (line: string) => void): ServeBlkOptions {
  const { target: _t, socket: _s, driver: _d, direct: _c, directAsked: _a, readOnly: _r, batch: _b, ...options } = plan;
  return { ...options, log };
}

/**
 * Opens the disk for the first time, past the page cache where the plan wants it and the file system can: not where it
 * refuses, nor for a file that ends within a block, which could only be written whole. Unless asked for, that is a note.
 * Throws CliError for a disk without a block that the guest could be shown.
 */
export async function openFirst(plan: OpenPlan, log: (line: string) => void): Promise<BlockDevice> {
  const device = await openSuitably(plan, log);
  const { target, size } = device;
  const { logicalBlockSize } = plan;
  if (size >= logicalBlockSize) return device;
  await device.close();
  const unit = logicalBlockSize === SECTOR_BYTES ? "sector" : "block";
  throw failed(`Cannot serve ${target}: it has ${size} bytes, wanted at least one ${unit} of ${logicalBlockSize}`);
}

async function openSuitably(plan: OpenPlan, log: (line: string) => void): Promise<BlockDevice> {
  const cached = (why: string) => {
    log(`the page cache is used: ${why}`);
    return openServed({ ...plan, direct: false }, true);
  };
  let device: BlockDevice;
  try {
    device = await openServed(plan, true);
  } catch (error) {
    const refused = error instanceof StorageError && error.kind === "unsupported" && error.errnoName === "EINVAL";
    if (!refused || !plan.direct || plan.directAsked) throw error;
    return await cached("the file system has no direct I/O");
  }
  const { kind, direct, alignment } = device.info;
  const hidden = device.size % alignment.offset;
  if (!direct || kind !== "file" || hidden < plan.logicalBlockSize) return device;
  await device.close();
  return await cached(`direct I/O takes whole blocks of ${alignment.offset} bytes, and the file ends within one`);
}
