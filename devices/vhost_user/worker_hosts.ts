import type { FileRange, QueueHost, QueueSpec, RegionSpec } from "./host.ts";

/** The end of a channel to a Worker: what `Worker`, `MessagePort` and a Worker's own scope have in common. */
export interface HostPort {
  /** Sends plain data. */
  postMessage(message: unknown): void;
  /** Receives it. */
  onmessage: ((event: MessageEvent) => void) | null;
}

/** Methods of a host that can be called from afar. */
type HostMethod = Exclude<keyof QueueHost, "onBroken">;

/** What is sent to a Worker. */
interface Call {
  readonly id: number;
  readonly method: HostMethod;
  readonly args: readonly unknown[];
}

/** What a Worker sends: answers to calls, and news. */
type FromHost =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly broken: number };

/** Serves `host` to the other end of `port`, in the Worker whose queues it serves. */
export function offerHost(port: HostPort, host: QueueHost): void {
  host.onBroken = (index) => port.postMessage({ broken: index } satisfies FromHost);
  port.onmessage = ({ data }) => {
    const { id, method, args } = data as Call;
    const call = host[method] as (...args: readonly unknown[]) => Promise<unknown>;
    call.apply(host, args as unknown[]).then(
      (value) => port.postMessage({ id, value } satisfies FromHost),
      (error: unknown) => port.postMessage({ id, error: (error as Error).message } satisfies FromHost),
    );
  };
}

/** A host in another Worker. */
class FarHost {
  readonly #port: HostPort;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  constructor(port: HostPort, onBroken: (index: number) => void) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      const message = data as FromHost;
      if ("broken" in message) return onBroken(message.broken);
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if ("error" in message) pending?.reject(new Error(message.error));
      else pending?.resolve(message.value);
    };
  }

  call(method: HostMethod, ...args: readonly unknown[]): Promise<unknown> {
    const id = ++this.#lastId;
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(id, pending);
    this.#port.postMessage({ id, method, args } satisfies Call);
    return pending.promise;
  }
}

/** Shares the queues of one device out over several Workers: queue i to Worker i modulo their number. */
export class WorkerHosts implements QueueHost {
  onBroken: ((index: number) => void) | null = null;
  readonly #hosts: readonly FarHost[];

  /** Makes a host of the Workers behind `ports`, each of which has called {@link offerHost}. */
  constructor(ports: readonly HostPort[]) {
    this.#hosts = ports.map((port) => new FarHost(port, (index) => this.onBroken?.(index)));
  }

  setMemory(regions: readonly RegionSpec[]): Promise<void> {
    return this.#all("setMemory", regions);
  }

  setLog(log: FileRange | null): Promise<void> {
    return this.#all("setLog", log);
  }

  async startQueue(queue: QueueSpec): Promise<void> {
    await this.#hostOf(queue.index).call("startQueue", queue);
  }

  async stopQueue(index: number): Promise<number> {
    return await this.#hostOf(index).call("stopQueue", index) as number;
  }

  async setCall(index: number, callFd: number): Promise<void> {
    await this.#hostOf(index).call("setCall", index, callFd);
  }

  configured(config: Uint8Array): Promise<void> {
    return this.#all("configured", config);
  }

  reset(): Promise<void> {
    return this.#all("reset");
  }

  async #all(method: HostMethod, ...args: readonly unknown[]): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.call(method, ...args)));
  }

  #hostOf(index: number): FarHost {
    return this.#hosts[index % this.#hosts.length]!;
  }
}
