import type { DiskStats } from "../../devices/serve/mod.ts";
import type { QueueStats } from "../../mod.ts";
import type { LunAddress } from "./lun_option.ts";
import type { OpenPlan } from "./device.ts";
import type { ServeScsiPlan } from "./scsi_options.ts";

/** What a Worker that serves an adapter's queues is asked to do; each is answered by its number. */
export type ScsiWorkerTask =
  | { readonly do: "start"; readonly plan: ServeScsiPlan; readonly port: MessagePort }
  | { readonly do: "open"; readonly at: LunAddress; readonly disk: OpenPlan }
  | { readonly do: "close"; readonly at: LunAddress }
  | { readonly do: "end" };

/** Sent to it. */
export interface ToScsiWorker {
  readonly id: number;
  readonly task: ScsiWorkerTask;
}

/** Counters of one Worker. */
export interface ScsiCounters {
  readonly adapter: DiskStats;
  readonly disks: readonly QueueStats[];
}

/** Sent by it. */
export type FromScsiWorker =
  | { readonly type: "done"; readonly id: number; readonly counters: ScsiCounters | null }
  | { readonly type: "failed"; readonly id: number; readonly message: string }
  | { readonly type: "log"; readonly line: string };
