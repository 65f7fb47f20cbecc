import { plug, unplug } from "../../core/plug/plug.ts";

/** Requests in flight above which a pass over the ring is plugged. */
export const PLUG_THRESHOLD_REQUESTS = 1;

/**
 * Plugs a pass over a blkif ring by how busy the disk is: with n > 1 requests in flight at its entry, n requests are
 * submitted together, the next one by itself, then n together again. An idle disk, or one with a single request in flight,
 * gets each request at once. From QEMU's xen-block data plane.
 *
 * Only requests that reach the disk are counted: the device calls {@link before} and {@link after} around each start, and
 * neither for a request that it answers itself. Inside a section of the caller the ends of these sections flush nothing.
 */
export class AdaptivePlug {
  #limit = 0;
  #batched = 0;
  #open = false;

  /** Starts a pass, with the number of requests in flight at its entry. */
  begin(inFlight: number): void {
    this.#limit = inFlight > PLUG_THRESHOLD_REQUESTS ? inFlight : 0;
    if (this.#limit > 0) this.#enter();
  }

  /** A request is about to start: where the batch is full, the batch is submitted. */
  before(): void {
    if (this.#limit > 0 && this.#batched >= this.#limit) this.#leave();
  }

  /** A request has started: it belongs to the open batch, or was the one after a full batch, which begins the next. */
  after(): void {
    if (this.#limit === 0) return;
    if (this.#open) this.#batched++;
    else this.#enter();
  }

  /** Ends the pass and submits what is left. Harmless where no section is open, as after a submit or a start that threw. */
  end(): void {
    if (this.#open) this.#leave();
  }

  #enter(): void {
    plug();
    this.#open = true;
    this.#batched = 0;
  }

  #leave(): void {
    this.#open = false;
    unplug();
  }
}
