import { shown } from "../../core/base/shown.ts";
import { checkText } from "../../core/system/target_path.ts";
import type { FileRange, QueueSpec, RegionSpec, SignalName, StoppedQueue, VringBackend } from "./vring_backend.ts";

/** The end of a channel to a Worker: what `Worker`, `MessagePort` and a Worker's own scope have in common. */
export interface VringPort {
  /** Sends plain data. */
  postMessage(message: unknown): void;
  /** Receives it. */
  onmessage: ((event: MessageEvent) => void) | null;
}

/** Throws a TypeError for what is no end of a channel. */
export function checkPort(port: unknown): asserts port is VringPort {
  if (!isPort(port)) throw new TypeError(`Cannot use port ${shown(port)}: wanted a Worker, a MessagePort or a scope`);
}

function isPort(port: unknown): boolean {
  try {
    const post = Object(port) === port && (port as VringPort).postMessage;
    return typeof post === "function";
  } catch {
    return false;
  }
}

/** Methods of a host that can be called from afar. */
type VringMethod = Exclude<keyof VringBackend, "onBroken">;

/** What is sent to a Worker. */
interface Call {
  readonly id: number;
  readonly method: VringMethod;
  readonly args: readonly unknown[];
}

/** What a Worker sends: answers to calls, and news. */
type FromVrings =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly broken: number }
  | { readonly gone: string };

/** Serves `host` to the other end of `port`, in the Worker whose queues it serves. */
export function offerVrings(port: VringPort, host: VringBackend): void {
  host.onBroken = (index) => port.postMessage({ broken: index } satisfies FromVrings);
  port.onmessage = ({ data }) => {
    const { id, method, args } = data as Call;
    const call = host[method] as (...args: readonly unknown[]) => Promise<unknown>;
    call.apply(host, args as unknown[]).then(
      (value) => port.postMessage({ id, value } satisfies FromVrings),
      (error: unknown) => port.postMessage({ id, error: (error as Error).message } satisfies FromVrings),
    );
  };
}

/**
 * To be called by the owner of a Worker that has ended in the middle, with this end of its channel: nothing else tells. What
 * its queues were asked for fails, now and from then on.
 */
export function workerIsGone(port: VringPort, reason: string): void {
  checkPort(port);
  checkText(reason, "give up a Worker for", "the reason as a string");
  port.onmessage?.(new MessageEvent("message", { data: { gone: reason } satisfies FromVrings }));
}

/** A host in another Worker. */
class WorkerVringBackend {
  readonly #port: VringPort;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;
  #gone: Error | null = null;

  constructor(port: VringPort, onBroken: (index: number) => void) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      const message = data as FromVrings;
      if ("broken" in message) return onBroken(message.broken);
      if ("gone" in message) return this.#end(new Error(message.gone));
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if ("error" in message) pending?.reject(new Error(message.error));
      else pending?.resolve(message.value);
    };
  }

  call(method: VringMethod, ...args: readonly unknown[]): Promise<unknown> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(id, pending);
    this.#port.postMessage({ id, method, args } satisfies Call);
    return pending.promise;
  }

  #end(gone: Error): void {
    this.#gone = gone;
    for (const { reject } of this.#pending.values()) reject(gone);
    this.#pending.clear();
  }
}

/** Shares the queues of one device out over several Workers: queue i to Worker i modulo their number. */
export class VringWorkers implements VringBackend {
  onBroken: ((index: number) => void) | null = null;
  readonly #hosts: readonly WorkerVringBackend[];

  /** Makes a host of the Workers behind `ports`, each of which has called {@link offerVrings}. */
  constructor(ports: readonly VringPort[]) {
    this.#hosts = ports.map((port) => new WorkerVringBackend(port, (index) => this.onBroken?.(index)));
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

  async stopQueue(index: number): Promise<StoppedQueue> {
    return await this.#hostOf(index).call("stopQueue", index) as StoppedQueue;
  }

  async isKicked(index: number): Promise<boolean> {
    return await this.#hostOf(index).call("isKicked", index) as boolean;
  }

  async setSignal(index: number, which: SignalName, fd: number): Promise<void> {
    await this.#hostOf(index).call("setSignal", index, which, fd);
  }

  configured(config: Uint8Array): Promise<void> {
    return this.#all("configured", config);
  }

  reset(): Promise<void> {
    return this.#all("reset");
  }

  /** Waits for all of them, also where one fails: what follows may rely on the others having done it. */
  async #all(method: VringMethod, ...args: readonly unknown[]): Promise<void> {
    const results = await Promise.allSettled(this.#hosts.map((host) => host.call(method, ...args)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  #hostOf(index: number): WorkerVringBackend {
    return this.#hosts[index % this.#hosts.length]!;
  }
}
