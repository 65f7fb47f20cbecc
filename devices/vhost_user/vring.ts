import { isEventFd } from "../../ffi/libc/descriptor.ts";
import { closeFile, duplicateFile, setNonblocking } from "../../ffi/libc/mod.ts";
import { isQueueSize } from "../virtio/mod.ts";
import type { QueueHost, QueueSpec } from "./host.ts";
import { VHOST_CONSTANTS as H } from "./layout.ts";
import { Refusal, type VringAddresses } from "./payload.ts";

/** What starting a ring needs beside the ring's own state. */
export interface VringSurroundings {
  /** Negotiated features. */
  readonly features: bigint;
  /** Rings have to be enabled. */
  readonly needsEnable: boolean;
  /** Written pages are marked. */
  readonly logging: boolean;
  /** There is guest memory. */
  readonly hasMemory: boolean;
  /** Part of the in-flight file, or null. */
  readonly inflight: QueueSpec["inflight"];
}

const LOG_FLAG = 1 << H.VHOST_VRING_F_LOG.value;

/** Which descriptor of a ring. */
export type VringFd = "kick" | "call" | "err";

/**
 * One ring as the front end describes it, message by message and in any order. It runs as soon as everything is there,
 * without waiting for a kick, and until it is asked for its base or disabled.
 */
export class Vring {
  readonly #index: number;
  readonly #host: QueueHost;
  readonly #maxSize: number;
  readonly #fds: Record<VringFd, number> = { kick: -1, call: -1, err: -1 };
  #size = 0;
  #addresses: VringAddresses | null = null;
  #nextAvail = 0;
  #enabled = false;
  #running = false;

  /** Makes the ring with this index. */
  constructor(index: number, host: QueueHost, maxSize: number) {
    this.#index = index;
    this.#host = host;
    this.#maxSize = maxSize;
  }

  /** True while its requests are served. */
  get running(): boolean {
    return this.#running;
  }

  /** SET_VRING_NUM. */
  setSize(size: number): void {
    this.#assertStopped("size");
    if (!isQueueSize(size) || size > this.#maxSize) {
      throw new Refusal(`Ring ${this.#index} has ${size} entries; wanted a power of two up to ${this.#maxSize}`);
    }
    this.#size = size;
  }

  /** SET_VRING_BASE. */
  setBase(nextAvail: number): void {
    this.#assertStopped("base");
    if (nextAvail > 0xffff) throw new Refusal(`Ring ${this.#index} starts at ${nextAvail}; wanted at most 65535`);
    this.#nextAvail = nextAvail;
  }

  /** SET_VRING_ADDR. */
  setAddresses(addresses: VringAddresses): void {
    this.#addresses = addresses;
  }

  /** SET_VRING_KICK, _CALL, _ERR: keeps a copy of the descriptor, which has to be an eventfd; −1 for none. */
  setFd(which: VringFd, fd: number): void {
    let copy = -1;
    if (fd >= 0) {
      if (!isEventFd(fd)) throw new Refusal(`The ${which} descriptor of ring ${this.#index} is no eventfd`);
      // One that waits at its maximum would keep everybody waiting; QEMU sets this as well.
      setNonblocking(fd, `${which} descriptor`);
      copy = duplicateFile(fd, `${which} descriptor`);
    }
    this.#closeFd(which);
    this.#fds[which] = copy;
  }

  /** SET_VRING_ENABLE. */
  setEnabled(enabled: boolean): void {
    this.#enabled = enabled;
  }

  /** Tells the host of a new call descriptor. */
  async applyCall(): Promise<void> {
    if (this.#running) await this.#host.setCall(this.#index, this.#fds.call);
  }

  /** Starts the ring if everything is there and it does not run yet. */
  async start(around: VringSurroundings): Promise<void> {
    const addresses = this.#addresses;
    const ready = this.#size > 0 && addresses !== null && this.#fds.kick >= 0 && around.hasMemory;
    if (this.#running || !ready || (around.needsEnable && !this.#enabled)) return;
    const logged = around.logging && (addresses.flags & LOG_FLAG) !== 0;
    await this.#host.startQueue({
      index: this.#index,
      size: this.#size,
      desc: addresses.desc,
      avail: addresses.avail,
      used: addresses.used,
      logging: around.logging,
      usedLogAddress: logged ? addresses.log : -1,
      nextAvail: this.#nextAvail,
      features: around.features,
      kickFd: this.#fds.kick,
      callFd: this.#fds.call,
      errFd: this.#fds.err,
      inflight: around.inflight,
    });
    this.#running = true;
  }

  /** Stops the ring after what is in flight; it can go on from where it was. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#nextAvail = await this.#host.stopQueue(this.#index);
  }

  /** GET_VRING_BASE: stops for good, and returns where the driver's next request will be. */
  async end(): Promise<number> {
    await this.stop();
    this.#enabled = false;
    this.#closeFd("kick");
    this.#closeFd("call");
    return this.#nextAvail;
  }

  /** The connection is over and the host has stopped. */
  close(): void {
    for (const which of ["kick", "call", "err"] as const) this.#closeFd(which);
  }

  #closeFd(which: VringFd): void {
    const fd = this.#fds[which];
    this.#fds[which] = -1;
    if (fd >= 0) closeFile(fd, `${which} descriptor of ring ${this.#index}`);
  }

  #assertStopped(what: string): void {
    if (this.#running) throw new Refusal(`The ${what} of ring ${this.#index} is to change while it runs`);
  }
}
