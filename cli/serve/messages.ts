import type { DiskStats } from "../../devices/serve/mod.ts";
import type { QueueStats } from "../../mod.ts";
import type { ServePlan } from "./options.ts";

/** Sent to a Worker that serves queues. */
export type ToServeWorker =
  | { readonly type: "open"; readonly plan: ServePlan; readonly port: MessagePort }
  | { readonly type: "close" };

/** Counters of one Worker. */
export interface ServeCounters {
  readonly disk: DiskStats;
  readonly device: QueueStats;
}

/** Sent by it. */
export type FromServeWorker =
  | { readonly type: "ready" }
  | { readonly type: "log"; readonly line: string }
  | { readonly type: "closed"; readonly counters: ServeCounters }
  | { readonly type: "failed"; readonly message: string };
