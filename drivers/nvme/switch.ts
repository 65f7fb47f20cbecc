import { StorageError } from "../../core/base/errors.ts";
import { type ControllerPort, NVME_CONSTANTS as C } from "../../ffi/vfio_nvme/mod.ts";
import { CC_ENABLED, CC_SHUTDOWN, GONE, isReady, isShutDown } from "./registers.ts";
import type { Steps } from "./task.ts";

/** Least milliseconds for CSTS.RDY: CAP.TO of 0 would leave no time at all. */
const MIN_READY_MS = 500;

/** Switches a controller on and off by its registers CC and CSTS, and waits as long as CAP.TO allows. */
export class ControllerSwitch {
  readonly #port: ControllerPort;
  readonly #readyMs: number;

  /** Makes the switch of the controller behind `port`, with CAP.TO in milliseconds. */
  constructor(port: ControllerPort, readyTimeoutMs: number) {
    this.#port = port;
    this.#readyMs = Math.max(MIN_READY_MS, readyTimeoutMs);
  }

  /** CSTS; all ones when the controller is gone. */
  status(): number {
    return this.#port.load(C.NVME_REG_CSTS.value);
  }

  /** CC.EN to 1; true when the controller takes commands. */
  *enable(): Steps<boolean> {
    this.#port.store(C.NVME_REG_CC.value, CC_ENABLED);
    return yield* this.#until(isReady, this.#readyMs);
  }

  /** CC.EN to 0; true when the controller has stopped. */
  *disable(): Steps<boolean> {
    this.#port.store(C.NVME_REG_CC.value, 0);
    return yield* this.stopped();
  }

  /** Waits until the controller has stopped; true when it has. */
  stopped(): Steps<boolean> {
    return this.#until((csts) => csts !== GONE && !isReady(csts), this.#readyMs);
  }

  /** Asks for a normal shutdown and gives it `limitMs`, then disables. Ends in any case. */
  *shutDown(limitMs: number): Steps<void> {
    this.#port.store(C.NVME_REG_CC.value, CC_SHUTDOWN);
    yield* this.#until(isShutDown, limitMs);
    yield* this.disable();
  }

  /** The error of a controller that did not do `what` in time. */
  late(what: string): StorageError {
    const detail = `CSTS is 0x${this.status().toString(16)} after ${this.#readyMs} ms (CAP.TO)`;
    return new StorageError({ kind: "broken", op: what, target: this.#port.address, detail });
  }

  *#until(reached: (csts: number) => boolean, limitMs: number): Steps<boolean> {
    const startMs = performance.now();
    for (;;) {
      const csts = this.status();
      if (reached(csts)) return true;
      if (csts === GONE || performance.now() - startMs >= limitMs) return false;
      yield;
    }
  }
}
