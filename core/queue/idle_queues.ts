import { startBackground } from "../base/background.ts";
import { Errno } from "../base/errno.ts";
import { StorageError } from "../base/errors.ts";
import { IDLE_QUEUE_MS, MAX_IDLE_QUEUES } from "../base/limits.ts";
import { pause } from "../base/pause.ts";

/** Errnos of a process or system that has no descriptors left. */
export const DESCRIPTORS_SHORT: readonly number[] = [Errno.EMFILE, Errno.ENFILE];

/** Errnos of a kernel queue that could not be made because something is short. */
export const QUEUES_SHORT: readonly number[] = [...DESCRIPTORS_SHORT, Errno.ENOMEM, Errno.EAGAIN];

/** Attempts once what is idle was ended, and the pause between them: the kernel gives some of it back a little later. */
const ATTEMPTS = 5;
const PAUSE_MS = 20;

/** How an {@link IdleList} is bounded. */
interface IdleBounds {
  /** Things at most; the one that is idle for longest makes room. */
  readonly max: number;
  /** Milliseconds that one is kept. */
  readonly ms: number;
}

/** Ends a thing; with `unheard`, no caller waits for it or is told, and it is to be no operation that the runtime counts. */
type EndIdle = (unheard: boolean) => void | Promise<void>;

interface IdleThing {
  readonly end: EndIdle;
  readonly sinceMs: number;
}

/** Things that are not in use and kept for the next user, for a while and up to a number. */
export class IdleList {
  readonly #bounds: IdleBounds;
  /** In the order in which they became idle. */
  readonly #things = new Map<object, IdleThing>();
  readonly #ending = new Set<Promise<void>>();
  #isWatched = false;

  /** Makes an empty list. */
  constructor(bounds: IdleBounds) {
    this.#bounds = bounds;
  }

  /** Number of things. */
  get size(): number {
    return this.#things.size;
  }

  /** Keeps `thing`, which `end` ends; what fails there is told to the caller of `endAll`. */
  add(thing: object, end: EndIdle): void {
    this.#things.set(thing, { end, sinceMs: performance.now() });
    if (this.#things.size > this.#bounds.max) this.#endFirst(true);
    this.#watch();
  }

  /** Takes `thing` back into use. */
  delete(thing: object): void {
    this.#things.delete(thing);
  }

  /** Ends what is idle for longer than the bound, seen from `nowMs`. */
  sweep(nowMs: number = performance.now()): void {
    for (const { sinceMs } of this.#things.values()) {
      if (nowMs - sinceMs < this.#bounds.ms) return;
      this.#endFirst(true);
    }
  }

  /** Begins to end everything; false when there is nothing. */
  end(): boolean {
    const some = this.#things.size > 0;
    while (this.#things.size > 0) this.#endFirst(true);
    return some;
  }

  /** Ends everything; resolves when the kernel has given all of it back. Rejects with what failed there. */
  async endAll(): Promise<void> {
    while (this.#things.size > 0) this.#endFirst(false);
    await Promise.all(this.#ending);
  }

  /** What `make` makes; where it fails with one of `errnos`, it is tried again without what is idle. */
  retry<T>(errnos: readonly number[], make: () => T): T {
    for (let attempt = 0;; attempt++) {
      try {
        return make();
      } catch (error) {
        const short = error instanceof StorageError && errnos.includes(error.errno);
        if (!short || attempt === ATTEMPTS || (attempt === 0 && !this.end())) throw error;
        if (attempt > 0) pause(PAUSE_MS);
      }
    }
  }

  #endFirst(unheard: boolean): void {
    const [thing, { end }] = this.#things.entries().next().value!;
    this.#things.delete(thing);
    const ending = Promise.try(end, unheard).finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
    // No caller may be there to be told.
    ending.catch(() => {});
  }

  #watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    startBackground(() => {
      this.#isWatched = false;
      this.sweep();
      if (this.#things.size > 0) this.#watch();
    }, this.#bounds.ms);
  }
}

/** Kernel queues of this Worker that no open device uses. */
export const idleQueues: IdleList = new IdleList({ max: MAX_IDLE_QUEUES, ms: IDLE_QUEUE_MS });

/**
 * Closes the kernel queues (io_uring, linux_aio) of this Worker that no open device uses, and resolves when the kernel
 * has given them back. They are kept for a second after the last device was closed, four at most, so that the next one
 * opens fast. Call it before counting descriptors or mappings, or before privileges are given up that the queues were
 * made with. Devices that are open are not touched.
 *
 * @example
 * ```ts
 * import { closeIdleQueues, openDevice } from "../../mod.ts";
 *
 * const disk = await openDevice("deno.json", { readOnly: true });
 * await disk.close();
 * await closeIdleQueues();
 * ```
 */
export function closeIdleQueues(): Promise<void> {
  return idleQueues.endAll();
}
