import { shown } from "../../core/base/shown.ts";
import { checkText } from "../../core/system/target_path.ts";
import type { ManageAll } from "../virtio/mod.ts";
import type {
  FileRange,
  QueueSpec,
  RegionSpec,
  SignalName,
  StoppedQueue,
  VringBackend,
  WorkerVrings,
} from "./vring_backend.ts";

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

/** Methods of a backend that can be called from afar. */
type VringMethod = Exclude<keyof VringBackend, "onBroken">;

/** What is sent to a Worker. */
interface Call {
  readonly id: number;
  readonly method: VringMethod;
  readonly args: readonly unknown[];
}

/** What a Worker sends: answers to calls, news, and orders of its device model to those of all Workers. */
type FromVrings =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly broken: number }
  | { readonly ask: number; readonly order: unknown }
  | { readonly gone: string };

/** What a Worker is sent beside calls: the answers to its orders. */
type Answered =
  | { readonly answered: number; readonly values: readonly unknown[] }
  | { readonly answered: number; readonly error: string };

/** Calls under way to the other end of a channel, by number. */
class Pending {
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  /** A new call, which `send` sends by its number. */
  begin(send: (id: number) => void): Promise<unknown> {
    const id = ++this.#lastId;
    const call = Promise.withResolvers<unknown>();
    this.#calls.set(id, call);
    send(id);
    return call.promise;
  }

  /** The call has ended; one that is not known is left alone. */
  end(id: number, outcome: { readonly value: unknown } | { readonly error: string }): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if ("error" in outcome) call?.reject(new Error(outcome.error));
    else call?.resolve(outcome.value);
  }

  /** No answer comes any more. */
  fail(reason: Error): void {
    for (const { reject } of this.#calls.values()) reject(reason);
    this.#calls.clear();
  }
}

/** Serves `backend` to the other end of `port`, in the Worker whose queues it serves. */
export function offerVrings(port: VringPort, backend: WorkerVrings): void {
  const orders = new Pending();
  backend.manageAll = (order) =>
    orders.begin((ask) => port.postMessage({ ask, order } satisfies FromVrings)) as ReturnType<ManageAll>;
  backend.onBroken = (index) => port.postMessage({ broken: index } satisfies FromVrings);
  port.onmessage = ({ data }) => {
    const message = data as Call | Answered;
    if ("answered" in message) {
      return orders.end(message.answered, "error" in message ? message : { value: message.values });
    }
    const { id, method, args } = message;
    const call = backend[method] as (...args: readonly unknown[]) => Promise<unknown>;
    call.apply(backend, args as unknown[]).then(
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

/** A backend in another Worker. */
class WorkerVringBackend {
  readonly #port: VringPort;
  readonly #pending = new Pending();
  #gone: Error | null = null;

  constructor(port: VringPort, onBroken: (index: number) => void, manageAll: ManageAll) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      const message = data as FromVrings;
      if ("broken" in message) return onBroken(message.broken);
      if ("gone" in message) return this.#end(new Error(message.gone));
      if ("ask" in message) return this.#answer(message.ask, manageAll(message.order));
      this.#pending.end(message.id, message);
    };
  }

  call(method: VringMethod, ...args: readonly unknown[]): Promise<unknown> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    return this.#pending.begin((id) => this.#port.postMessage({ id, method, args } satisfies Call));
  }

  #answer(answered: number, answers: ReturnType<ManageAll>): void {
    answers.then(
      (values) => this.#port.postMessage({ answered, values } satisfies Answered),
      (error: unknown) => this.#port.postMessage({ answered, error: (error as Error).message } satisfies Answered),
    );
  }

  #end(gone: Error): void {
    this.#gone = gone;
    this.#pending.fail(gone);
  }
}

/** The Worker, of so many, that serves a queue; both are counted from 0. */
type WorkerOf = (queueIndex: number, workerCount: number) => number;

/** Shares the queues of one device out over several Workers. */
export class VringWorkers implements VringBackend {
  onBroken: ((index: number) => void) | null = null;
  readonly #backends: readonly WorkerVringBackend[];
  readonly #workerOf: WorkerOf;

  /**
   * Makes a backend of the Workers behind `ports`, each of which has called {@link offerVrings}. Unless the device says
   * otherwise by `workerOf`, queue i is served by Worker i modulo their number.
   */
  constructor(ports: readonly VringPort[], workerOf: WorkerOf = (index, count) => index % count) {
    this.#workerOf = workerOf;
    const onBroken = (index: number) => this.onBroken?.(index);
    this.#backends = ports.map((port) => new WorkerVringBackend(port, onBroken, (order) => this.manage(order)));
  }

  setMemory(regions: readonly RegionSpec[]): Promise<void> {
    return this.#tellAll("setMemory", regions);
  }

  setLog(log: FileRange | null): Promise<void> {
    return this.#tellAll("setLog", log);
  }

  async startQueue(queue: QueueSpec): Promise<void> {
    await this.#backendOf(queue.index).call("startQueue", queue);
  }

  async stopQueue(index: number): Promise<StoppedQueue> {
    return await this.#backendOf(index).call("stopQueue", index) as StoppedQueue;
  }

  async isKicked(index: number): Promise<boolean> {
    return await this.#backendOf(index).call("isKicked", index) as boolean;
  }

  async setSignal(index: number, which: SignalName, fd: number): Promise<void> {
    await this.#backendOf(index).call("setSignal", index, which, fd);
  }

  configured(config: Uint8Array): Promise<void> {
    return this.#tellAll("configured", config);
  }

  reset(): Promise<void> {
    return this.#tellAll("reset");
  }

  async manage(order: unknown): Promise<readonly unknown[]> {
    return (await this.#all("manage", order)).flat();
  }

  async #tellAll(method: VringMethod, ...args: readonly unknown[]): Promise<void> {
    await this.#all(method, ...args);
  }

  /** Waits for all of them, also where one fails: what follows may rely on the others having done it. */
  async #all(method: VringMethod, ...args: readonly unknown[]): Promise<readonly unknown[]> {
    const results = await Promise.allSettled(this.#backends.map((backend) => backend.call(method, ...args)));
    return results.map((result) => {
      if (result.status === "rejected") throw result.reason;
      return result.value;
    });
  }

  #backendOf(index: number): WorkerVringBackend {
    return this.#backends[this.#workerOf(index, this.#backends.length)]!;
  }
}
