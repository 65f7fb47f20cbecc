/**
 * Entry of the Worker that serves one disk.
 *
 * @module
 */
import { serveNbd, serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { type BlockDevice, openDevice } from "../../../mod.ts";
import "../libraries.ts";
import type { FromServedDisk, ServedDiskPlan } from "../served_disk.ts";

/** The part of a Worker's global scope that is used; the type checker assumes a window. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ServedDiskPlan | "close">) => void) | null;
  postMessage(message: FromServedDisk): void;
}

const scope = globalThis as unknown as WorkerScope;
let served: { readonly device: BlockDevice; readonly server: { close(): Promise<void> } } | null = null;

scope.onmessage = ({ data }) => {
  const step = data === "close" ? close() : open(data);
  step.then(
    () => scope.postMessage({ type: data === "close" ? "closed" : "listens" }),
    (error: unknown) => scope.postMessage({ type: "failed", message: (error as Error).message }),
  );
};

async function open(plan: ServedDiskPlan): Promise<void> {
  const device = await openDevice(plan.target, plan.open);
  try {
    const { socket, serve, isNbd } = plan;
    const server = isNbd ? await serveNbd(device, socket) : serveVhostUserBlk(device, socket, serve);
    served = { device, server };
  } catch (error) {
    await device.close();
    throw error;
  }
}

async function close(): Promise<void> {
  const { device, server } = served!;
  await server.close();
  await device.close();
}
