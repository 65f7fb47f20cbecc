import { Fifo } from "../../core/fifo.ts";
import { BlkAction, type BlkRequest } from "./request.ts";
import type { ServedDevice } from "./run.ts";

/** Bytes of all copies of one queue at a time; more wait in order. Bounds what a guest can make this process allocate. */
export const COPY_POOL_BYTES = 128 * 1024 * 1024;

/** Called once for each request. */
export type CopyDone = (request: BlkRequest, succeeded: boolean) => void;

/**
 * Requests whose data the driver cannot reach straight, because of the driver or because of the guest's alignment: they
 * go through a copy and the promise face.
 */
export class CopiedTransfers {
  readonly #device: ServedDevice;
  readonly #done: CopyDone;
  readonly #waiting = new Fifo<{ readonly request: BlkRequest; readonly durable: boolean }>();
  #usedBytes = 0;
  #active = 0;

  /** Copies for `device`; `done` is told of each request. */
  constructor(device: ServedDevice, done: CopyDone) {
    this.#device = device;
    this.#done = done;
  }

  /** Requests that are not done: they go on in microtasks. */
  get active(): number {
    return this.#active;
  }

  /** Reads or writes `request`; a durable write is done only once it is on the medium. */
  start(request: BlkRequest, durable: boolean): void {
    this.#active++;
    this.#waiting.push({ request, durable });
    this.#startWaiting();
  }

  #startWaiting(): void {
    for (let next = this.#waiting.shift(); next !== null; next = this.#waiting.shift()) {
      if (this.#usedBytes > 0 && this.#usedBytes + next.request.length > COPY_POOL_BYTES) {
        this.#waiting.unshift(next);
        return;
      }
      this.#usedBytes += next.request.length;
      const { request } = next;
      this.#transfer(request, next.durable).then(
        () => this.#finish(request, true),
        () => this.#finish(request, false),
      );
    }
  }

  async #transfer(request: BlkRequest, durable: boolean): Promise<void> {
    const { data, offset, length } = request;
    const copy = new Uint8Array(length);
    if (request.action === BlkAction.write) {
      data.read(0, copy);
      await this.#device.write(copy, offset, { fua: durable });
    } else {
      await this.#device.read(copy, offset);
      data.write(copy);
    }
  }

  #finish(request: BlkRequest, succeeded: boolean): void {
    this.#usedBytes -= request.length;
    this.#active--;
    this.#done(request, succeeded);
    this.#startWaiting();
  }
}
