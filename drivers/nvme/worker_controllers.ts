import type { OpenOptions } from "../../core/device/backend.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { tearDownInTurn } from "../../core/base/teardown.ts";
import { NvmeController } from "./controller.ts";
import type { NvmeEnvironment } from "./environment.ts";
import { queueKey, SharedQueue } from "./shared_queue.ts";
import { Watchdog } from "./watchdog.ts";

/**
 * A controller that this Worker has open, for all its namespaces. The kernel gives a controller to one owner at a time,
 * so another Worker that wants it is refused.
 */
export class OpenController {
  /** The controller. */
  readonly controller: NvmeController;
  /** Memory of all its namespaces for foreign buffers. */
  readonly bounce: BouncePool;
  readonly #environment: NvmeEnvironment;
  readonly #watchdog: Watchdog;
  readonly #queues = new Map<string, Shared<SharedQueue>>();
  /** Queues that the controller would not delete: it may look at their memory until it is closed. */
  readonly #leftBehind: SharedQueue[] = [];

  private constructor(controller: NvmeController, environment: NvmeEnvironment) {
    this.controller = controller;
    this.#environment = environment;
    this.bounce = new BouncePool({ source: controller.dma });
    this.#watchdog = new Watchdog(controller, environment.timing);
  }

  /** Opens the controller at `address` and brings it up. Rejects with StorageError; it is reset and closed then. */
  static async open(address: string, environment: NvmeEnvironment): Promise<OpenController> {
    const port = environment.openPort(address);
    let controller: NvmeController;
    try {
      controller = new NvmeController(port, environment);
    } catch (error) {
      port[Symbol.dispose]();
      throw error;
    }
    try {
      await controller.tasks.run(controller.start());
      return new OpenController(controller, environment);
    } catch (error) {
      controller.dispose();
      throw error;
    }
  }

  /** The queue for `options`, made on first use. Pair with `releaseQueue`. */
  acquireQueue(options: OpenOptions): Promise<SharedQueue> {
    const { controller } = this;
    const make = () => controller.tasks.run(SharedQueue.open(controller, this.#watchdog, this.#environment, options));
    return acquire(this.#queues, queueKey(options), make);
  }

  /** Gives a queue back; the last user's return deletes it. Nothing of the user is in flight. */
  async releaseQueue(shared: SharedQueue, options: OpenOptions): Promise<void> {
    if (!release(this.#queues, queueKey(options))) return;
    try {
      await this.controller.tasks.run(shared.close());
      shared.dispose();
    } catch {
      this.#leftBehind.push(shared);
    }
  }

  /** Shuts the controller down and closes it. */
  async close(): Promise<void> {
    await tearDownInTurn(
      () => this.controller.tasks.run(this.controller.shutdown()),
      () => this.controller.dispose(),
      () => this.bounce.dispose(),
      ...this.#leftBehind.map((shared) => () => shared.dispose()),
    );
  }
}

/** Something that is made once for all that want it at the same time. */
interface Shared<T> {
  readonly making: Promise<T>;
  users: number;
}

/** Counts one more user of `name`, which is made on first use. A user counts from the start, while it is made. */
async function acquire<T>(all: Map<string, Shared<T>>, name: string, make: () => Promise<T>): Promise<T> {
  const shared = all.get(name) ?? { making: make(), users: 0 };
  all.set(name, shared);
  shared.users++;
  try {
    return await shared.making;
  } catch (error) {
    if (all.get(name) === shared) all.delete(name);
    throw error;
  }
}

/** Counts one user less; true for the last one. */
function release<T>(all: Map<string, Shared<T>>, name: string): boolean {
  const shared = all.get(name);
  if (shared === undefined || --shared.users > 0) return false;
  return all.delete(name);
}

/** Controllers of this Worker by address. */
const open = new Map<string, Shared<OpenController>>();

/** Controllers that are being closed: opening one again waits for that. */
const closing = new Map<string, Promise<void>>();

/** Returns this Worker's controller at `address`, opened on first use. Pair with {@link releaseController}. */
export async function acquireController(address: string, environment: NvmeEnvironment): Promise<OpenController> {
  await closing.get(address);
  return await acquire(open, address, () => OpenController.open(address, environment));
}

/** Gives a controller back; the last user's return shuts it down. */
export async function releaseController(address: string, controller: OpenController): Promise<void> {
  if (!release(open, address)) return;
  const closed = controller.close();
  closing.set(address, closed.catch(() => {}));
  try {
    await closed;
  } finally {
    closing.delete(address);
  }
}
