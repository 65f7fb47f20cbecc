import { type BlockDevice, openDevice, type ServeBlkOptions } from "../../mod.ts";
import type { ServePlan } from "./options.ts";

/** Opens the disk of a plan. The one that is opened first claims a block device, so that nobody mounts it meanwhile. */
export function openServed(plan: ServePlan, claim: boolean): Promise<BlockDevice> {
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
  const { queueCount, queueSize, workerCount, serial, lock, format, writeBack, poll, block } = plan;
  const { merge, deferNotify, shares } = plan;
  const rings = { queueCount, queueSize, workerCount, merge, deferNotify, shares, poll, block };
  return { ...rings, serial, lock, writeBack, ...format === undefined ? {} : { format }, log };
}
