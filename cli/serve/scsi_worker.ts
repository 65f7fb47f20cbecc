/**
 * Entry of a Worker that serves its share of an adapter's queues, on devices of its own.
 *
 * @module
 */
import { type ScsiWorker, serveScsiQueues, type VringPort } from "../../devices/serve/mod.ts";
import type { BlockDevice } from "../../mod.ts";
import { openServed } from "./device.ts";
import { type LunAddress, shownAddress } from "./lun_option.ts";
import type { FromScsiWorker, ScsiCounters, ScsiWorkerTask, ToScsiWorker } from "./scsi_messages.ts";
import { serverOptionsOf } from "./scsi_options.ts";

/** The part of a Worker's global scope that is used; the type checker assumes a window. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToScsiWorker>) => void) | null;
  postMessage(message: FromScsiWorker): void;
}

const scope = globalThis as unknown as WorkerScope;
const devices = new Map<string, BlockDevice>();
let adapter: ScsiWorker | null = null;

scope.onmessage = ({ data: { id, task } }) => {
  obey(task).then(
    (counters) => scope.postMessage({ type: "done", id, counters }),
    (error: unknown) => scope.postMessage({ type: "failed", id, message: (error as Error).message }),
  );
};

async function obey(task: ScsiWorkerTask): Promise<ScsiCounters | null> {
  switch (task.do) {
    case "start": {
      const log = (line: string) => scope.postMessage({ type: "log", line });
      adapter = serveScsiQueues(task.port as unknown as VringPort, serverOptionsOf(task.plan, log));
      return null;
    }
    case "open": {
      const device = await openServed(task.disk, false);
      devices.set(shownAddress(task.at), device);
      adapter!.offer(task.at, device);
      return null;
    }
    case "close":
      await close(task.at);
      return null;
    case "end": {
      const counters = {
        adapter: { ...adapter!.stats },
        disks: [...devices.values()].map(({ stats }) => ({ ...stats })),
      };
      await Promise.all([...devices.values()].map((device) => device.close()));
      return counters;
    }
  }
}

async function close(at: LunAddress): Promise<void> {
  const name = shownAddress(at);
  const device = devices.get(name);
  devices.delete(name);
  adapter!.takeBack(at);
  await device?.close();
}
