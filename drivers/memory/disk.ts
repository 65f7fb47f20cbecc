import { MAX_OFFSET_BYTES } from "../../core/base/limits.ts";
import { FLAG, integer, LIST, number, oneOf, OptionTable } from "../../core/base/options.ts";
import { Random } from "../../core/base/random.ts";
import { shown } from "../../core/base/shown.ts";
import { parseSize } from "../../core/base/units.ts";
import { DiskModel } from "./disk_model.ts";
import type { FaultKind, MemoryFault } from "./faults.ts";

/** How a {@link MemoryDisk} is made. */
export interface MemoryDiskOptions {
  /** Bytes of a sector, 512 or 4096: what direct I/O aligns to, and what a power loss keeps or loses as one. Default 512. */
  readonly blockSize?: 512 | 4096;
  /** Behave like a regular file, which grows when it is written past its end. Default false: like a disk. */
  readonly growable?: boolean;
  /** Carry out and complete the requests of each submission in a random order. Default false. */
  readonly reorder?: boolean;
  /** Where every random choice comes from: the same seed and the same requests give the same faults. Default 1. */
  readonly seed?: number;
  /** Faults from the start; the first in order that hits a request wins. Default none. */
  readonly faults?: readonly MemoryFault[];
}

/** How {@link MemoryDisk.powerLoss} leaves the disk behind. */
export interface PowerLossOptions {
  /**
   * What survives of the writes that no flush covered: nothing, all of them, or some of their sectors by the disk's seed, so
   * that writes are torn. Default `"nothing"`.
   */
  readonly keep?: "nothing" | "some" | "all";
}

const OPTIONS = new OptionTable<MemoryDiskOptions>("make a memory disk with", {
  blockSize: number("512 or 4096", (value) => value === 512 || value === 4096),
  growable: FLAG,
  reorder: FLAG,
  seed: integer(-MAX_OFFSET_BYTES, MAX_OFFSET_BYTES, "an integer"),
  faults: LIST,
});

const POWER_LOSS = new OptionTable<PowerLossOptions>("cut the power with", { keep: oneOf(["nothing", "some", "all"]) });

/** The model behind a disk; for the driver, not for users. */
let modelOf: (disk: MemoryDisk) => DiskModel;

/**
 * A disk in the memory of this Worker, for tests of what is built on plugio: it fails on request, and loses its power.
 * Needs no library and no permission. Takes memory only for what is written.
 *
 * Worker rule: it belongs to the Worker that made it; any number of devices of that Worker may be open on it.
 *
 * @example
 * ```ts
 * import { openDevice } from "../../mod.ts";
 * import { MemoryDisk } from "../testing.ts";
 *
 * const disk = new MemoryDisk("64MiB", { faults: [{ kind: "error", ops: ["write"], offset: 4096, length: 512 }] });
 * await using device = await openDevice("memory:log", { memory: disk });
 * await device.write(new Uint8Array(4096), 0);
 * const outcome = await device.write(new Uint8Array(4096), 4096).catch((error) => error.errnoName);
 * console.assert(outcome === "EIO" && disk.hits.error === 1);
 * ```
 */
export class MemoryDisk {
  static {
    modelOf = (disk) => disk.#model;
  }

  readonly #model: DiskModel;
  #faults: readonly MemoryFault[];

  /** Makes a disk of zeroes; `size` in bytes or as `"64MiB"`. Throws RangeError for sizes and faults that make no sense. */
  constructor(size: number | string, options: MemoryDiskOptions = {}) {
    const { blockSize = 512, growable = false, reorder = false, seed = 1, faults = [] } = OPTIONS.read(options);
    if (typeof size !== "number" && typeof size !== "string") {
      throw new TypeError(`Cannot make a memory disk of size ${shown(size)}: wanted bytes, or a text such as "64MiB"`);
    }
    const byteLength = typeof size === "number" ? size : parseSize(size, "size of a memory disk");
    const unit = growable ? 1 : blockSize;
    if (!Number.isSafeInteger(byteLength) || byteLength < 0 || byteLength % unit !== 0) {
      throw new RangeError(
        `Cannot make a memory disk of ${size} bytes: wanted a multiple of ${unit} from 0 to ${MAX_OFFSET_BYTES}`,
      );
    }
    this.#model = new DiskModel({ byteLength, blockSize, growable, reorder, random: new Random(seed) });
    this.#faults = faults;
    this.#model.setFaults(faults);
  }

  /** Size in bytes now. */
  get byteLength(): number {
    return this.#model.byteLength;
  }

  /** The faults that are in force. Setting them starts their counts of `after` and `times` anew. */
  get faults(): readonly MemoryFault[] {
    return this.#faults;
  }

  /** Replaces the faults for every request that is carried out from now on. Throws RangeError, and changes nothing then. */
  set faults(faults: readonly MemoryFault[]) {
    OPTIONS.check("faults", faults);
    this.#model.setFaults(faults);
    this.#faults = faults;
  }

  /** Requests that each kind of fault has hit since the disk was made, live. */
  get hits(): Readonly<Record<FaultKind, number>> {
    return this.#model.hits;
  }

  /**
   * Cuts the power. Every device that is open on the disk is broken: what it has in flight fails with ENODEV, and so does all
   * that comes. Writes since the last flush are lost unless `keep` says otherwise; a write with `fua` is safe. Open
   * the disk again to see what a machine finds after its restart.
   */
  powerLoss(options?: PowerLossOptions): void {
    const { keep = "nothing" } = POWER_LOSS.read(options);
    const { random } = this.#model;
    const coin = () => random.below(2) === 1;
    if (keep === "nothing") this.#model.powerLoss(false, () => false);
    else if (keep === "all") this.#model.powerLoss(true, () => true);
    else this.#model.powerLoss(coin(), coin);
  }
}

export { modelOf };
