import { tearDown } from "../../core/base/teardown.ts";
import { ForeignSignal } from "../../ffi/foreign_signal.ts";
import { watchForeign } from "../../ffi/foreign_watch.ts";
import { closeFile, duplicateFile } from "../../ffi/libc/mod.ts";
import type { QueueSpec, SignalName } from "./vring_backend.ts";

/** The descriptors by which a queue and its driver wake each other. The front end has them as well, and may do anything. */
export class FrontEndEnds implements Disposable {
  /** Signalled by the driver. */
  readonly kickFd: number;
  readonly #index: number;
  readonly #watch: Disposable;
  readonly #signals: Record<SignalName, ForeignSignal | null> = { call: null, err: null };

  /** Calls `onKick` for each kick, or for several; copies the descriptors of `spec`, which stay the caller's. */
  constructor({ index, kickFd, callFd, errFd }: QueueSpec, onKick: () => void) {
    this.#index = index;
    using stack = new DisposableStack();
    this.kickFd = duplicateFile(kickFd, `kick descriptor of queue ${index}`);
    stack.defer(() => closeFile(this.kickFd, `kick descriptor of queue ${index}`));
    this.setSignal("call", callFd);
    stack.defer(() => this.#signals.call?.[Symbol.dispose]());
    this.setSignal("err", errFd);
    stack.defer(() => this.#signals.err?.[Symbol.dispose]());
    this.#watch = watchForeign(this.kickFd, onKick);
    stack.move();
  }

  /** Signals `fd` from now on; −1 for nothing. */
  setSignal(which: SignalName, fd: number): void {
    const next = fd < 0 ? null : new ForeignSignal(fd, `${which} descriptor of queue ${this.#index}`);
    const before = this.#signals[which];
    this.#signals[which] = next;
    before?.[Symbol.dispose]();
  }

  /** Tells the driver, where it gave a descriptor for that. Never waits. */
  signal(which: SignalName): void {
    this.#signals[which]?.signal();
  }

  /** Hears of no kicks any more. */
  stopListening(): void {
    this.#watch[Symbol.dispose]();
  }

  /** Closes the copies. */
  [Symbol.dispose](): void {
    tearDown(
      () => this.#watch[Symbol.dispose](),
      () => closeFile(this.kickFd, `kick descriptor of queue ${this.#index}`),
      () => this.setSignal("call", -1),
      () => this.setSignal("err", -1),
    );
  }
}
