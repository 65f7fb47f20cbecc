import type { NvmeController } from "./controller.ts";
import type { NvmeTiming } from "./environment.ts";
import type { NvmeEngine } from "./engine.ts";
import { GONE, isFatal, isReady } from "./registers.ts";

/**
 * Looks after a controller while I/O is in flight: aborts commands that are late, resets the controller when that does
 * not help, when it reports a fatal error, or when it is gone. Costs nothing per command and nothing while idle.
 */
export class Watchdog {
  readonly #controller: NvmeController;
  readonly #timing: NvmeTiming;
  readonly #engines = new Set<NvmeEngine>();
  #timer: ReturnType<typeof setInterval> | null = null;
  #lastTickMs = 0;

  /** Makes the watchdog of `controller`, asleep. */
  constructor(controller: NvmeController, timing: NvmeTiming) {
    this.#controller = controller;
    this.#timing = timing;
  }

  /** Looks after the commands of `engine` from now on. */
  add(engine: NvmeEngine): void {
    this.#engines.add(engine);
  }

  /** Forgets `engine`. */
  remove(engine: NvmeEngine): void {
    this.#engines.delete(engine);
    if (this.#engines.size === 0) this.#sleep();
  }

  /** To be called when a queue gets its first request. */
  wake(): void {
    if (this.#timer !== null) return;
    this.#lastTickMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), this.#timing.tickMs);
    // The queue itself holds the event loop open.
    this.#timer.unref();
  }

  /** For a caller that blocks the event loop: ticks when it is time to. */
  check(): void {
    if (performance.now() - this.#lastTickMs >= this.#timing.tickMs) this.#tick();
  }

  #tick(): void {
    this.#lastTickMs = performance.now();
    let active = 0;
    for (const { queue } of this.#engines) active += queue.active();
    if (active === 0) return this.#sleep();
    const controller = this.#controller;
    controller.checkAskedBack();
    if (controller.state !== "running") return;
    const csts = controller.status();
    if (csts === GONE) return controller.requestReset("the controller is gone");
    if (!isReady(csts)) return controller.requestReset("it is not ready any more (CSTS.RDY): another program reset it");
    if (isFatal(csts)) return controller.requestReset("it reported a fatal error (CSTS.CFS)");
    for (const engine of this.#engines) this.#tickEngine(engine);
  }

  #tickEngine(engine: NvmeEngine): void {
    const { commandMs, abortGraceMs, tickMs } = this.#timing;
    // One more: the first tick after a command may come at once.
    const abortAge = Math.ceil(commandMs / tickMs) + 1;
    const resetAge = abortAge + Math.ceil(abortGraceMs / tickMs);
    // An interrupt that got lost is no reason to abort what is complete.
    const { queue, qid } = engine;
    if (queue.ready()) return queue.submit();
    engine.tick(abortAge, resetAge, (cid, tooOld) => {
      if (!tooOld) return this.#controller.abort(qid, cid);
      this.#controller.requestReset(`command ${cid} of queue ${qid} did not complete within ${commandMs} ms`);
    });
  }

  #sleep(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
