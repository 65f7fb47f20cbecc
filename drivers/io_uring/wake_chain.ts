import type { OwnedMemory } from "../../core/base/memory.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { closeFile, newEventFd } from "../../ffi/libc/mod.ts";
import type { Ring } from "../../ffi/liburing/mod.ts";
import { AlignedMemory } from "../../ffi/memory.ts";
import { socketpairWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import type { IoUringEngine } from "./engine.ts";
import { writeWakeChain } from "./sqe.ts";

/**
 * The wake-up for runtimes without Node's pipe handle: the ring itself waits for its eventfd and then sends a byte
 * to a socket that the event loop reads through documented API. Two linked entries per wake-up.
 */
export class WakeChain implements Disposable {
  readonly #engine: IoUringEngine;
  readonly #eventFd: number;
  readonly #wakeup: Wakeup & { readonly sendFd: number };
  readonly #memory: OwnedMemory;
  #outstanding = false;

  /** Sets the chain up for `ring`; `onWake` runs as a macrotask. */
  constructor(ring: Ring, engine: IoUringEngine, onWake: () => void) {
    this.#engine = engine;
    using stack = new DisposableStack();
    // Blocking: a nonblocking eventfd would answer the ring's READ with EAGAIN instead of letting it wait.
    this.#eventFd = stack.adopt(newEventFd({ nonblocking: false }), (fd) => closeFile(fd, "eventfd"));
    this.#memory = stack.use(new AlignedMemory(8));
    this.#wakeup = stack.use(socketpairWakeup(() => {
      this.#outstanding = false;
      onWake();
    }));
    ring.registerEventFd(this.#eventFd);
    engine.onOwnTakenBack = () => void (this.#outstanding = false);
    stack.move();
  }

  /** Puts the chain behind the next completion, unless it is there already; true once the kernel has it. */
  arm(): boolean {
    if (!this.#outstanding) this.#add();
    return this.#outstanding && this.#engine.queued === 0;
  }

  #add(): void {
    // Before the attempt: where the kernel refuses the chain for good, the queue takes it back during it.
    this.#outstanding = true;
    const added = this.#engine.addPair((sqes, at, next) =>
      writeWakeChain(sqes, at, next, {
        eventFd: this.#eventFd,
        sendFd: this.#wakeup.sendFd,
        low: this.#memory.addressLow,
        high: this.#memory.addressHigh,
      })
    );
    if (!added) this.#outstanding = false;
  }

  /** Lets the wake-up hold the event loop open. */
  ref(): void {
    this.#wakeup.ref();
  }

  /** Lets the process end although the wake-up is open. */
  unref(): void {
    this.#wakeup.unref();
  }

  /** Closes both descriptors; the ring must be closed before. */
  [Symbol.dispose](): void {
    tearDown(
      () => this.#wakeup[Symbol.dispose](),
      () => closeFile(this.#eventFd, "eventfd"),
      // The ring is gone, but an outstanding read may still be on its way out of the kernel: 4 KiB stay for it.
      () => this.#outstanding || this.#memory[Symbol.dispose](),
    );
  }
}
