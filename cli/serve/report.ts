import type { DiskStats } from "../../devices/serve/mod.ts";
import { counted } from "../words.ts";
import type { VringPlan } from "./options.ts";

/** Where front ends find a server, and how many queues it has. */
export function describePlace({ socket, queueCount, queueSize, workerCount }: VringPlan): string {
  return `${typeof socket === "number" ? `descriptor ${socket}` : socket}: ${counted(queueCount, "queue")} of ` +
    `${queueSize} entries, ${counted(workerCount, "Worker")}`;
}

/** What batching did: the counters of the queues of all Workers, and the submits of their disks. */
export function summarize(stats: readonly DiskStats[], submits: number): string {
  const sum = (name: keyof DiskStats) => stats.reduce((total, each) => total + each[name], 0);
  const requests = sum("answers");
  const perRequest = (count: number) => requests === 0 ? "0" : (count / requests).toPrecision(3);
  return `${counted(requests, "request")}, ${counted(sum("errors"), "error")}; per request ` +
    `${perRequest(sum("notifications"))} notifications, ${perRequest(submits)} submits, ` +
    `${perRequest(sum("copied"))} copies, ${perRequest(sum("runs"))} runs`;
}
