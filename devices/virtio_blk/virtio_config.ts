import type { VirtioConfig } from "../virtio/mod.ts";
import { blkConfig, type BlkFacts, blkFeatures, WCE_OFFSET } from "./config.ts";

/** The part of a virtio-blk device that its transport asks: features and configuration space. */
export class BlkVirtioConfig implements VirtioConfig {
  readonly features: bigint;
  readonly tolerated = 0n;
  readonly queueCount: number;
  readonly maxQueueSize: number;
  #facts: BlkFacts;
  #config: Uint8Array<ArrayBuffer>;

  /** Shows a disk with these facts. */
  constructor(facts: BlkFacts) {
    this.#facts = facts;
    this.features = blkFeatures(facts);
    this.queueCount = facts.queueCount;
    this.maxQueueSize = facts.maxQueueSize;
    this.#config = blkConfig(facts);
  }

  get config(): Uint8Array<ArrayBuffer> {
    return this.#config;
  }

  writeConfig(offset: number, bytes: Uint8Array): string | null {
    if (offset !== WCE_OFFSET || bytes.length !== 1 || bytes[0]! > 1) {
      return `only the write-cache byte at ${WCE_OFFSET} can be written, with 0 or 1`;
    }
    this.#facts = { ...this.#facts, writeBack: bytes[0] === 1 };
    this.#config = blkConfig(this.#facts);
    return null;
  }

  /** The cache mode stays as the driver has set it: QEMU, which keeps the configuration space, goes on showing it. */
  reset(): undefined {}

  /** Shows another size from now on; returns whether the guest can see a difference. */
  resize(sizeBytes: number): boolean {
    const before = this.#config;
    this.#facts = { ...this.#facts, sizeBytes };
    this.#config = blkConfig(this.#facts);
    return before.some((byte, index) => byte !== this.#config[index]);
  }
}
