import { DiskUnits } from "../disk/mod.ts";
import { targetOf } from "./address.ts";
import type { UnitTable } from "./inquiries.ts";
import { Sense } from "./sense.ts";
import type { ScsiUnit } from "./unit.ts";

/** The units of an adapter in one Worker, by their places. */
export class ScsiUnits implements UnitTable {
  /** Their disks, for the loop over the queues. */
  readonly disks: DiskUnits = new DiskUnits();
  readonly #units = new Map<number, ScsiUnit>();
  /** Those that ever had a unit: a guest goes on asking for what it knows, and is told that it is gone. */
  readonly #targets = new Set<number>();
  #places: readonly number[] = [];

  get places(): readonly number[] {
    return this.#places;
  }

  /** Whether anything is to be found at a target. */
  hasTarget(target: number): boolean {
    return this.#targets.has(target);
  }

  /** The unit at a place, or null. */
  at(place: number): ScsiUnit | null {
    return this.#units.get(place) ?? null;
  }

  /** All units. */
  all(): readonly ScsiUnit[] {
    return [...this.#units.values()];
  }

  /** Adds a unit where none is. */
  add(unit: ScsiUnit): void {
    this.#units.set(unit.place, unit);
    this.#targets.add(targetOf(unit.place));
    this.disks.add(unit.disk);
    this.#sort();
  }

  /** Commands do not find the unit any more; its disk is still waited for. */
  hide(place: number): void {
    this.#units.delete(place);
    this.#sort();
  }

  /** The disk of a unit that is hidden and has nothing in flight is forgotten. */
  forget(unit: ScsiUnit): void {
    this.disks.remove(unit.disk);
    unit.disk.endLog();
  }

  /** The disk has no command to give ranges back, as has turned out: they are not offered any more. */
  stopDiscards(unit: ScsiUnit): void {
    if (!unit.facts.discards) return;
    unit.facts = { ...unit.facts, discards: false, zeroesDiscarded: false };
    unit.state.raise(Sense.modeChanged);
  }

  #sort(): void {
    this.#places = [...this.#units.keys()].sort((a, b) => a - b);
  }
}
