import { type VringPort, workerIsGone } from "../../devices/serve/mod.ts";
import { failed } from "../failure.ts";
import type { FromServeWorker, ServeCounters, ToServeWorker } from "./messages.ts";
import type { ServePlan } from "./options.ts";

/** One Worker and its two answers. */
interface Member {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly ready: PromiseWithResolvers<void>;
  readonly closed: PromiseWithResolvers<ServeCounters>;
}

/** The Workers that share the queues of a disk. */
export class ServePool implements Disposable {
  /** Of the Workers that were closed, also where others had failed. */
  counters: readonly ServeCounters[] = [];
  readonly #members: readonly Member[];

  /** Starts the Workers of `plan`; `onFailure` is called when one of them ends in the middle. */
  constructor(plan: ServePlan, log: (line: string) => void, onFailure: (error: Error) => void) {
    this.#members = Array.from({ length: plan.workerCount }, () => startWorker(plan, log, onFailure));
  }

  /** Ends of the channels, for the server. */
  get ports(): readonly VringPort[] {
    return this.#members.map(({ port }) => port as unknown as VringPort);
  }

  /** Resolves when each Worker has opened the disk. */
  async ready(): Promise<void> {
    await Promise.all(this.#members.map(({ ready }) => ready.promise));
  }

  /** Closes the disk in each Worker; resolves to their counters. Rejects after the last with the first failure. */
  async close(): Promise<readonly ServeCounters[]> {
    const results = await Promise.allSettled(this.#members.map(({ worker, closed }) => {
      worker.postMessage({ type: "close" } satisfies ToServeWorker);
      return closed.promise;
    }));
    this.counters = results.flatMap((result) => result.status === "fulfilled" ? [result.value] : []);
    for (const result of results) if (result.status === "rejected") throw result.reason;
    return this.counters;
  }

  /** Ends the Workers, and the channels to them. */
  [Symbol.dispose](): void {
    for (const { worker, port } of this.#members) {
      worker.terminate();
      port.close();
    }
  }
}

function startWorker(plan: ServePlan, log: (line: string) => void, onFailure: (error: Error) => void): Member {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const channel = new MessageChannel();
  const ready = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<ServeCounters>();
  const fail = (error: Error) => {
    ready.reject(error);
    closed.reject(error);
    workerIsGone(channel.port1 as unknown as VringPort, error.message);
    onFailure(error);
  };
  // A caller that waits hears of it; that none does any more is no error of its own.
  ready.promise.catch(() => {});
  closed.promise.catch(() => {});
  worker.onmessage = ({ data }: MessageEvent<FromServeWorker>) => {
    if (data.type === "ready") ready.resolve();
    else if (data.type === "log") log(data.line);
    else if (data.type === "closed") closed.resolve(data.counters);
    else fail(failed(data.message));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    fail(failed(`A Worker that serves queues has ended: ${event.message}`));
  };
  worker.postMessage({ type: "open", plan, port: channel.port2 } satisfies ToServeWorker, [channel.port2]);
  return { worker, port: channel.port1, ready, closed };
}
