import { ForeignSignal } from "../../ffi/foreign_signal.ts";
import { isEventFd } from "../../ffi/libc/descriptor.ts";
import { closeFile, duplicateFile } from "../../ffi/libc/mod.ts";
import { isQueueSize } from "../virtio/mod.ts";
import type { QueueSpec, SignalName, VringBackend } from "./vring_backend.ts";
import { VHOST_CONSTANTS as H } from "./layout.ts";
import { Refusal, type VringAddresses } from "./payload.ts";

/** What starting a ring needs beside the ring's own state. */
interface VringSurroundings {
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
export type VringFd = "kick" | SignalName;

/**
 * One ring as the front end describes it, message by message and in any order. The backend has it as soon as everything is
 * there, and takes requests from its first kick on, until the ring is asked for its base or disabled. With an in-flight
 * file it does not wait for the kick: a guest whose server was exchanged has kicked the one before.
 */
export class Vring {
  readonly #index: number;
  readonly #backend: VringBackend;
  readonly #maxSize: number;
  readonly #fds: Record<VringFd, number> = { kick: -1, call: -1, err: -1 };
  #size = 0;
  #addresses: VringAddresses | null = null;
  #nextAvail = 0;
  #enabled = false;
  #running = false;
  #kicked = false;

  /** Makes the ring with this index. */
  constructor(index: number, backend: VringBackend, maxSize: number) {
    this.#index = index;
    this.#backend = backend;
    this.#maxSize = maxSize;
  }

  /** True while its requests are served. */
  get running(): boolean {
    return this.#running;
  }

  /** SET_VRING_NUM. */
  async setSize(size: number): Promise<void> {
    if (!isQueueSize(size) || size > this.#maxSize) {
      throw new Refusal(`Ring ${this.#index} has ${size} entries; wanted a power of two up to ${this.#maxSize}`);
    }
    await this.#stopUnkicked("size");
    this.#size = size;
  }

  /** SET_VRING_BASE. */
  async setBase(nextAvail: number): Promise<void> {
    if (nextAvail > 0xffff) throw new Refusal(`Ring ${this.#index} starts at ${nextAvail}; wanted at most 65535`);
    await this.#stopUnkicked("base");
    this.#nextAvail = nextAvail;
  }

  /** SET_VRING_ADDR. */
  setAddresses(addresses: VringAddresses): void {
    this.#addresses = addresses;
  }

  /**
   * SET_VRING_KICK, _CALL, _ERR: keeps a copy of the descriptor; −1 for none. Kicks come through eventfds alone, what is
   * signalled may be a pipe or a socket as well.
   */
  setFd(which: VringFd, fd: number): void {
    let copy = -1;
    if (fd >= 0) {
      if (!(which === "kick" ? isEventFd(fd) : ForeignSignal.takes(fd))) {
        const wanted = which === "kick" ? "eventfd" : "eventfd, pipe or socket";
        throw new Refusal(`The ${which} descriptor of ring ${this.#index} is no ${wanted}`);
      }
      copy = duplicateFile(fd, `${which} descriptor`);
    }
    this.#closeFd(which);
    this.#fds[which] = copy;
  }

  /** SET_VRING_ENABLE. */
  setEnabled(enabled: boolean): void {
    this.#enabled = enabled;
  }

  /** Tells the backend of a new descriptor to signal. */
  async applySignal(which: SignalName): Promise<void> {
    if (this.#running) await this.#backend.setSignal(this.#index, which, this.#fds[which]);
  }

  /** Gives the ring to the backend if everything is there and it does not have it yet. */
  async start(around: VringSurroundings): Promise<void> {
    const addresses = this.#addresses;
    const ready = this.#size > 0 && addresses !== null && this.#fds.kick >= 0 && around.hasMemory;
    if (this.#running || !ready || (around.needsEnable && !this.#enabled)) return;
    const logged = around.logging && (addresses.flags & LOG_FLAG) !== 0;
    await this.#backend.startQueue({
      index: this.#index,
      size: this.#size,
      desc: addresses.desc,
      avail: addresses.avail,
      used: addresses.used,
      logging: around.logging,
      usedLogAddress: logged ? addresses.log : -1,
      nextAvail: this.#nextAvail,
      awaitKick: !this.#kicked && around.inflight === null,
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
    const { nextAvail, kicked } = await this.#backend.stopQueue(this.#index);
    this.#nextAvail = nextAvail;
    this.#kicked = kicked;
  }

  /** GET_VRING_BASE: stops for good, and returns where the driver's next request will be. */
  async end(): Promise<number> {
    await this.stop();
    this.#enabled = false;
    this.#kicked = false;
    this.#closeFd("kick");
    this.#closeFd("call");
    return this.#nextAvail;
  }

  /** The connection is over and the backend has stopped. */
  close(): void {
    for (const which of ["kick", "call", "err"] as const) this.#closeFd(which);
  }

  #closeFd(which: VringFd): void {
    const fd = this.#fds[which];
    this.#fds[which] = -1;
    if (fd >= 0) closeFile(fd, `${which} descriptor of ring ${this.#index}`);
  }

  /** Takes the ring back from the backend, which has to start it again; refuses where it has started. */
  async #stopUnkicked(what: string): Promise<void> {
    if (!this.#running) return;
    if (await this.#backend.isKicked(this.#index)) {
      throw new Refusal(`The ${what} of ring ${this.#index} is to change while it runs`);
    }
    await this.stop();
  }
}
