import type { CompletionSource } from "../guest_ring/mod.ts";
import type { DiskUnit } from "./disk_unit.ts";

/** All units that one Worker serves to a guest, as far as the loop over its queues has to know them. */
export class DiskUnits implements CompletionSource {
  readonly #units = new Set<DiskUnit>();

  /** Adds a unit. */
  add(unit: DiskUnit): void {
    this.#units.add(unit);
  }

  /** Takes a unit away; nothing of it may be in flight. */
  remove(unit: DiskUnit): void {
    this.#units.delete(unit);
  }

  poll(): number {
    let count = 0;
    // Devices that share a queue deliver each other's completions: those behind them owe nothing any more.
    for (const unit of this.#units) if (unit.inFlight > 0) count += unit.poll();
    return count;
  }

  get completionFds(): readonly number[] {
    const fds = new Set<number>();
    for (const { device } of this.#units) if (device.completionFd >= 0) fds.add(device.completionFd);
    return [...fds];
  }

  get maySleep(): boolean {
    for (const { inFlight, copying, device } of this.#units) {
      if (copying > 0 || (inFlight > 0 && device.completionFd < 0)) return false;
    }
    return true;
  }
}
