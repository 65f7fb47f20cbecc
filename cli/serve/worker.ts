/**
 * Entry of a Worker that serves its share of a disk's queues, on a device of its own.
 *
 * @module
 */
import { type DiskStats, serveBlkQueues, type VringPort } from "../../devices/serve/mod.ts";
import type { BlockDevice } from "../../mod.ts";
import { openServed, serveOptionsOf } from "./device.ts";
import type { FromServeWorker, ToServeWorker } from "./messages.ts";
import type { ServePlan } from "./options.ts";

/** The part of a Worker's global scope that is used; the type checker assumes a window. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToServeWorker>) => void) | null;
  postMessage(message: FromServeWorker): void;
}

const scope = globalThis as unknown as WorkerScope;
let served: { readonly device: BlockDevice; readonly disk: DiskStats } | null = null;

scope.onmessage = ({ data }) => {
  const step = data.type === "open" ? open(data.plan, data.port) : close();
  step.catch((error: unknown) => scope.postMessage({ type: "failed", message: (error as Error).message }));
};

async function open(plan: ServePlan, port: MessagePort): Promise<void> {
  const device = await openServed(plan, false);
  const log = (line: string) => scope.postMessage({ type: "log", line });
  served = { device, disk: serveBlkQueues(device, port as unknown as VringPort, serveOptionsOf(plan, log)) };
  scope.postMessage({ type: "ready" });
}

async function close(): Promise<void> {
  const { device, disk } = served!;
  await device.close();
  scope.postMessage({ type: "closed", counters: { disk, device: { ...device.stats } } });
}
