import { type BlockDevice, openDevice } from "../../mod.ts";
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
