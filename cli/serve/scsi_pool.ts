import { type VringPort, workerIsGone } from "../../devices/serve/mod.ts";
import { failed } from "../failure.ts";
import type { OpenPlan } from "./device.ts";
import type { LunAddress } from "./lun_option.ts";
import type { FromScsiWorker, ScsiCounters, ScsiWorkerTask, ToScsiWorker } from "./scsi_messages.ts";
import type { ServeScsiPlan } from "./scsi_options.ts";

/** One Worker, and the tasks that it has not answered. */
class Member {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly #pending = new Map<number, PromiseWithResolvers<ScsiCounters | null>>();
  #lastId = 0;
  #gone: Error | null = null;

  constructor(log: (line: string) => void, onFailure: (error: Error) => void) {
    this.worker = new Worker(new URL("./scsi_worker.ts", import.meta.url), { type: "module" });
    const channel = new MessageChannel();
    this.port = channel.port1;
    this.#handOver = channel.port2;
    this.worker.onmessage = ({ data }: MessageEvent<FromScsiWorker>) => {
      if (data.type === "log") return log(data.line);
      const pending = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if (data.type === "done") pending?.resolve(data.counters);
      else pending?.reject(failed(data.message));
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      const error = failed(`A Worker that serves queues has ended: ${event.message}`);
      this.#gone = error;
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
      workerIsGone(this.port as unknown as VringPort, error.message);
      onFailure(error);
    };
  }

  readonly #handOver: MessagePort;

  start(plan: ServeScsiPlan): Promise<ScsiCounters | null> {
    return this.ask({ do: "start", plan, port: this.#handOver }, [this.#handOver]);
  }

  ask(task: ScsiWorkerTask, transfer: Transferable[] = []): Promise<ScsiCounters | null> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    const pending = Promise.withResolvers<ScsiCounters | null>();
    this.#pending.set(id, pending);
    this.worker.postMessage({ id, task } satisfies ToScsiWorker, transfer);
    return pending.promise;
  }
}

/** The Workers that share the queues of an adapter. */
export class ScsiPool implements Disposable {
  readonly #members: readonly Member[];

  /** Starts `count` Workers; `onFailure` is called when one of them ends in the middle. */
  constructor(count: number, log: (line: string) => void, onFailure: (error: Error) => void) {
    this.#members = Array.from({ length: count }, () => new Member(log, onFailure));
  }

  /** Ends of the channels, for the server. */
  get ports(): readonly VringPort[] {
    return this.#members.map(({ port }) => port as unknown as VringPort);
  }

  /** Resolves when each Worker is ready to open disks. */
  async start(plan: ServeScsiPlan): Promise<void> {
    await Promise.all(this.#members.map((member) => member.start(plan)));
  }

  /** Opens a disk in each Worker; where one fails, in none. */
  async open(at: LunAddress, disk: OpenPlan): Promise<void> {
    const results = await Promise.allSettled(this.#members.map((member) => member.ask({ do: "open", at, disk })));
    const failure = results.find((result) => result.status === "rejected");
    if (failure === undefined) return;
    await this.close(at).catch(() => {});
    throw failure.reason;
  }

  /** Closes a disk in each Worker. */
  async close(at: LunAddress): Promise<void> {
    await Promise.all(this.#members.map((member) => member.ask({ do: "close", at })));
  }

  /** Closes what is open; resolves to the counters of the Workers that are left. */
  async end(): Promise<readonly ScsiCounters[]> {
    const results = await Promise.allSettled(this.#members.map((member) => member.ask({ do: "end" })));
    return results.flatMap((result) => result.status === "fulfilled" && result.value !== null ? [result.value] : []);
  }

  /** Ends the Workers, and the channels to them. */
  [Symbol.dispose](): void {
    for (const { worker, port } of this.#members) {
      worker.terminate();
      port.close();
    }
  }
}
