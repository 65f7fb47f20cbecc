import { inflightBytes, inflightEntries } from "../virtio/mod.ts";
import { newSharedFile } from "../../ffi/shared_memory.ts";
import { closeFile } from "../../ffi/libc/mod.ts";
import type { QueueSpec, RegionSpec, VringBackend } from "./vring_backend.ts";
import { type InflightPayload, Refusal, type RegionPayload } from "./payload.ts";
import { MAX_MEMORY_SLOTS } from "./wire.ts";

/** Sum of all that a front end may have mapped, in bytes: more than any guest, less than the address space. */
export const MAX_GUEST_BYTES: number = 2 ** 44;

/** Identity of the next region: no two sessions share one, so that no backend takes one's memory for another's. */
let nextRegionId = 1;

/** The guest's memory as this session knows it: which regions there are. The backend maps them. */
export class SessionMemory {
  readonly #backend: VringBackend;
  #regions: RegionSpec[] = [];

  /** Starts without memory. */
  constructor(backend: VringBackend) {
    this.#backend = backend;
  }

  /** Replaces everything. The descriptors stay the caller's. */
  async replace(regions: readonly RegionPayload[], fds: readonly number[]): Promise<void> {
    await this.#use(regions.map((region, index) => ({ ...region, fd: fds[index]!, id: nextRegionId++ })));
  }

  /** Adds one region. */
  async add(region: RegionPayload, fd: number): Promise<void> {
    if (this.#regions.length >= MAX_MEMORY_SLOTS) {
      throw new Refusal(`There are ${MAX_MEMORY_SLOTS} memory regions already, as many as were offered`);
    }
    await this.#use([...this.#regions, { ...region, fd, id: nextRegionId++ }]);
  }

  /** Takes one region away. */
  async remove(region: RegionPayload): Promise<void> {
    const { guestAddress, userAddress, byteLength } = region;
    const rest = this.#regions.filter((each) =>
      each.guestAddress !== guestAddress || each.userAddress !== userAddress || each.byteLength !== byteLength
    );
    if (rest.length === this.#regions.length) {
      throw new Refusal(`There is no memory region at 0x${guestAddress.toString(16)} of ${byteLength} bytes`);
    }
    await this.#use(rest);
  }

  async #use(regions: RegionSpec[]): Promise<void> {
    // What is mapped begins at the start of the file.
    const totalBytes = regions.reduce((sum, { fileOffset, byteLength }) => sum + fileOffset + byteLength, 0);
    if (totalBytes > MAX_GUEST_BYTES) {
      throw new Refusal(`The memory regions have ${totalBytes} bytes; wanted at most ${MAX_GUEST_BYTES}`);
    }
    await this.#backend.setMemory(regions);
    this.#regions = regions;
  }
}

/** The in-flight file of a session: made here for a front end that asks, and given back by it after a restart. */
export class SessionInflight {
  #fd = -1;
  #layout: InflightPayload | null = null;

  /**
   * A new file for `queueCount` queues of `queueSize` entries: its description and descriptor, which is the caller's. To
   * be made for the largest rings that are served: a front end may ask at one size and then set rings of another.
   */
  static create(queueCount: number, queueSize: number): { readonly layout: InflightPayload; readonly fd: number } {
    if (queueCount === 0) throw new Refusal("An in-flight file for 0 queues was asked for");
    const byteLength = queueCount * inflightBytes(queueSize);
    const fd = newSharedFile("plugio-inflight", byteLength);
    return { layout: { byteLength, fileOffset: 0, queueCount, queueSize }, fd };
  }

  /**
   * Uses the file behind `fd`, which is taken over; −1 for none. How many entries a queue's part has follows from its
   * length: what the message says is what the front end has once asked for, whatever it was given.
   */
  use(layout: InflightPayload, fd: number): void {
    const { queueCount, byteLength } = layout;
    const queueSize = queueCount === 0 ? 0 : inflightEntries(byteLength / queueCount);
    if (fd >= 0 && queueSize === 0) {
      throw new Refusal(`An in-flight file of ${byteLength} bytes for ${queueCount} queues has no room for any`);
    }
    this.close();
    this.#fd = fd;
    this.#layout = fd < 0 ? null : { ...layout, queueSize };
  }

  /** The part of queue `index`, or null. */
  partOf(index: number): QueueSpec["inflight"] {
    const layout = this.#layout;
    if (layout === null || index >= layout.queueCount) return null;
    const byteLength = inflightBytes(layout.queueSize);
    const fileOffset = layout.fileOffset + index * byteLength;
    return { fd: this.#fd, fileOffset, byteLength, queueSize: layout.queueSize };
  }

  /** Closes the file. */
  close(): void {
    if (this.#fd >= 0) closeFile(this.#fd, "in-flight file");
    this.#fd = -1;
    this.#layout = null;
  }
}
