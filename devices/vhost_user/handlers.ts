import { closeFile, duplicateFile } from "../../ffi/libc/mod.ts";
import { featureBits, hasFeature, VIRTIO_CONSTANTS as V, type VirtioConfig } from "../virtio/mod.ts";
import { Channel, type Message } from "./channel.ts";
import type { SignalName, VringBackend } from "./vring_backend.ts";
import { VHOST_CONSTANTS as H } from "./layout.ts";
import {
  assertOffered,
  HarmlessRefusal,
  inflightPayload,
  readConfigRange,
  readConfigWrite,
  readInflight,
  readLog,
  readMemoryTable,
  readSingleRegion,
  readU64,
  readVringAddresses,
  readVringState,
  Refusal,
  u64Payload,
  vringStatePayload,
} from "./payload.ts";
import { SessionInflight, SessionMemory } from "./session_memory.ts";
import { Vring, type VringFd } from "./vring.ts";
import {
  BACKEND_CONFIG_CHANGE,
  CONFIG,
  FD_INDEX_MASK,
  MAX_CONFIG_BYTES,
  MAX_MEMORY_SLOTS,
  type MessageName,
  NO_FD_BIT,
  PROTOCOL_FEATURES,
  PROTOCOL_FEATURES_BIT,
  ProtocolFeature,
} from "./wire.ts";

/** What a message is answered with. The descriptor is the receiver's to close. */
export interface Answer {
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly fd?: number;
}

type Handler = (message: Message) => Answer | void | Promise<Answer | void>;

/** Features of the transport. */
const TRANSPORT_FEATURES = featureBits(PROTOCOL_FEATURES_BIT, H.VHOST_F_LOG_ALL);
/** Status bit by which a device asks its driver for a reset. */
const NEEDS_RESET = BigInt(V.VIRTIO_CONFIG_S_NEEDS_RESET.value);

/** What each message of a front end does: the device as this front end has set it up so far. */
export class Handlers {
  readonly #device: VirtioConfig;
  readonly #backend: VringBackend;
  readonly #inflight = new SessionInflight();
  #vrings: readonly Vring[];
  #memory: SessionMemory;
  #isOwned = false;
  #hasMemory = false;
  #hasLog = false;
  #features = 0n;
  #protocolFeatures = 0n;
  #status = 0n;
  #backChannel: Channel | null = null;

  /** Starts with nothing set up. */
  constructor(device: VirtioConfig, backend: VringBackend) {
    this.#device = device;
    this.#backend = backend;
    this.#memory = new SessionMemory(backend);
    backend.onBroken = () => this.#status |= NEEDS_RESET;
    this.#vrings = this.#newVrings();
  }

  /** Does what the message says. Throws, or rejects with, a Refusal for what this server does not do. */
  handle(message: Message): Answer | void | Promise<Answer | void> {
    const handler = this.#handlers[message.name as MessageName] as Handler | undefined;
    if (handler === undefined) throw new Refusal("it is not known here");
    return handler(message);
  }

  /** Whether the front end has accepted the protocol feature. */
  negotiated(bit: number): boolean {
    return hasFeature(this.#protocolFeatures, bit);
  }

  /** Tells a front end that listens that the configuration space has changed. Throws when it does not take it. */
  announceConfig(): void {
    if (this.#backChannel === null || !this.negotiated(ProtocolFeature.config)) return;
    this.#backChannel.send(BACKEND_CONFIG_CHANGE, new Uint8Array(0));
  }

  /** The front end is gone: no message comes any more. */
  hangUp(): void {
    this.#backChannel?.close();
  }

  /** Gives back what the front end has handed over; the backend has stopped. */
  close(): void {
    this.#backend.onBroken = null;
    for (const vring of this.#vrings) vring.close();
    this.#inflight.close();
  }

  readonly #handlers: Readonly<Record<MessageName, Handler>> = {
    GET_FEATURES: () => ({ payload: u64Payload(this.#offered) }),
    SET_FEATURES: ({ payload }) => this.#setFeatures(readU64(payload)),
    SET_OWNER: () => this.#setOwner(),
    RESET_OWNER: () => this.#stopAll(),
    SET_MEM_TABLE: async ({ payload, fds }) => {
      await this.#memory.replace(readMemoryTable(payload, fds.length), fds);
      this.#hasMemory = true;
      await this.#startAll();
    },
    SET_LOG_BASE: ({ payload, fds }) => this.#setLog(readLog(payload), fds[0]!),
    // Written to when the log has changed, for front ends that sleep on it; none does, and none has to.
    SET_LOG_FD: () => {},
    SET_VRING_NUM: async ({ payload }) => {
      const { index, value } = readVringState(payload);
      await this.#vring(index).setSize(value);
      await this.#start(index);
    },
    SET_VRING_ADDR: async ({ payload }) => {
      const addresses = readVringAddresses(payload);
      const vring = this.#vring(addresses.index);
      // Running rings are described again when logging starts: they go on where they were.
      await vring.stop();
      vring.setAddresses(addresses);
      await this.#start(addresses.index);
    },
    SET_VRING_BASE: async ({ payload }) => {
      const { index, value } = readVringState(payload);
      await this.#vring(index).setBase(value);
      await this.#start(index);
    },
    GET_VRING_BASE: async ({ payload }) => {
      const { index } = readVringState(payload);
      return { payload: vringStatePayload(index, await this.#vring(index).end()) };
    },
    SET_VRING_KICK: async (message) => {
      const { index, fd } = this.#vringFd(message);
      if (fd < 0) throw new Refusal("a ring without a kick descriptor would have to be polled for ever");
      await this.#vring(index).stop();
      this.#takeFd(message, index, "kick");
      await this.#start(index);
    },
    SET_VRING_CALL: (message) => this.#setSignal(message, "call"),
    SET_VRING_ERR: (message) => this.#setSignal(message, "err"),
    GET_PROTOCOL_FEATURES: () => ({ payload: u64Payload(this.#offeredProtocol) }),
    SET_PROTOCOL_FEATURES: ({ payload }) => {
      const features = readU64(payload);
      assertOffered(features, this.#offeredProtocol, "protocol features");
      this.#protocolFeatures = features;
    },
    GET_QUEUE_NUM: () => ({ payload: u64Payload(BigInt(this.#device.queueCount)) }),
    SET_VRING_ENABLE: async ({ payload }) => {
      const { index, value } = readVringState(payload);
      const vring = this.#vring(index);
      vring.setEnabled(value !== 0);
      if (value === 0) await vring.stop();
      else await this.#start(index);
    },
    SET_BACKEND_REQ_FD: ({ fds }) => {
      this.#backChannel?.close();
      this.#backChannel = new Channel(duplicateFile(fds[0]!, "back-end channel"), "back-end channel");
    },
    GET_CONFIG: ({ payload }) => ({ payload: this.#readConfig(payload) }),
    SET_CONFIG: ({ payload }) => this.#writeConfig(payload),
    GET_INFLIGHT_FD: ({ payload }) => {
      const queueCount = Math.min(readInflight(payload).queueCount, this.#device.queueCount);
      const { layout, fd } = SessionInflight.create(queueCount, this.#device.maxQueueSize);
      return { payload: inflightPayload(layout), fd };
    },
    SET_INFLIGHT_FD: ({ payload, fds }) => {
      const layout = readInflight(payload);
      const fd = fds.length === 0 ? -1 : duplicateFile(fds[0]!, "in-flight file");
      try {
        this.#inflight.use(layout, fd);
      } catch (error) {
        if (fd >= 0) closeFile(fd, "in-flight file");
        throw error;
      }
    },
    GET_MAX_MEM_SLOTS: () => ({ payload: u64Payload(BigInt(MAX_MEMORY_SLOTS)) }),
    ADD_MEM_REG: async ({ payload, fds }) => {
      await this.#memory.add(readSingleRegion(payload), fds[0]!);
      this.#hasMemory = true;
      await this.#startAll();
    },
    REM_MEM_REG: ({ payload }) => this.#memory.remove(readSingleRegion(payload)),
    SET_STATUS: async ({ payload }) => {
      this.#status = readU64(payload);
      if (this.#status !== 0n) return;
      await this.#stopAll();
      await this.#resetDevice();
    },
    GET_STATUS: () => ({ payload: u64Payload(this.#status) }),
  };

  get #offered(): bigint {
    return this.#device.features | TRANSPORT_FEATURES;
  }

  get #offeredProtocol(): bigint {
    return this.#device.config === null ? PROTOCOL_FEATURES & ~featureBits(ProtocolFeature.config) : PROTOCOL_FEATURES;
  }

  get #logging(): boolean {
    return this.#hasLog && hasFeature(this.#features, H.VHOST_F_LOG_ALL);
  }

  /** A second owner is a new device on the same connection: what QEMU does with a disk that is plugged in again. */
  async #setOwner(): Promise<void> {
    if (this.#isOwned) await this.#forgetDevice();
    this.#isOwned = true;
  }

  /** Protocol features and the channel to the front end stay: both are settled before a device gets its owner. */
  async #forgetDevice(): Promise<void> {
    await this.#backend.reset();
    for (const vring of this.#vrings) vring.close();
    this.#vrings = this.#newVrings();
    this.#inflight.close();
    this.#memory = new SessionMemory(this.#backend);
    this.#hasMemory = this.#hasLog = false;
    this.#features = this.#status = 0n;
    await this.#resetDevice();
  }

  /** What the driver had set in the device is forgotten, in all Workers. */
  async #resetDevice(): Promise<void> {
    const order = this.#device.reset();
    if (order !== undefined) await this.#backend.manage(order);
  }

  #newVrings(): Vring[] {
    const { queueCount, maxQueueSize } = this.#device;
    return Array.from({ length: queueCount }, (_, index) => new Vring(index, this.#backend, maxQueueSize));
  }

  async #setFeatures(features: bigint): Promise<void> {
    assertOffered(features, this.#offered | this.#device.tolerated, "features");
    const changed = features !== this.#features;
    if (changed) await this.#pauseAll();
    this.#features = features;
    if (changed) await this.#startAll();
  }

  async #setLog(range: { readonly byteLength: number; readonly fileOffset: number }, fd: number): Promise<Answer> {
    await this.#pauseAll();
    await this.#backend.setLog({ ...range, fd });
    this.#hasLog = true;
    await this.#startAll();
    return { payload: u64Payload(0n) };
  }

  /** The part that is asked for, or nothing at all: by that a front end knows that there is no such part. */
  #readConfig(payload: DataView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const { config } = this.#device;
    const range = readConfigRange(payload);
    if (range === null || config === null) return new Uint8Array(0);
    const { offset, size } = range;
    const answer = new Uint8Array(CONFIG.byteLength + size);
    answer.set(new Uint8Array(payload.buffer, 0, CONFIG.byteLength));
    answer.set(config.subarray(offset, offset + size), CONFIG.byteLength);
    return answer;
  }

  /** A guest may write what it likes: what is refused changes nothing, and ends nothing. */
  async #writeConfig(payload: DataView<ArrayBuffer>): Promise<void> {
    if (this.#device.config === null) throw new HarmlessRefusal("this device has no configuration");
    const write = readConfigWrite(payload);
    if (write === null) {
      throw new HarmlessRefusal(`it is no part of the ${MAX_CONFIG_BYTES} bytes of the configuration`);
    }
    const failure = this.#device.writeConfig(write.offset, write.bytes);
    if (failure !== null) throw new HarmlessRefusal(failure);
    await tellConfig(this.#device, this.#backend);
  }

  #vring(index: number): Vring {
    const vring = this.#vrings[index];
    if (vring === undefined) throw new Refusal(`ring ${index} is meant, of ${this.#vrings.length}`);
    return vring;
  }

  #vringFd({ payload, fds }: Message): { readonly index: number; readonly fd: number } {
    const value = Number(readU64(payload) & 0xffffn);
    const absent = (value & NO_FD_BIT) !== 0;
    if (absent !== (fds.length === 0)) throw new Refusal(`its flags and its ${fds.length} descriptors disagree`);
    return { index: value & FD_INDEX_MASK, fd: fds[0] ?? -1 };
  }

  #setSignal(message: Message, which: SignalName): Promise<void> {
    const { index } = this.#vringFd(message);
    this.#takeFd(message, index, which);
    return this.#vring(index).applySignal(which);
  }

  #takeFd({ fds }: Message, index: number, which: VringFd): void {
    this.#vring(index).setFd(which, fds[0] ?? -1);
  }

  async #start(index: number): Promise<void> {
    await this.#vring(index).start({
      features: this.#features,
      needsEnable: hasFeature(this.#features, PROTOCOL_FEATURES_BIT),
      logging: this.#logging,
      hasMemory: this.#hasMemory,
      inflight: this.#inflight.partOf(index),
    });
  }

  async #startAll(): Promise<void> {
    for (const index of this.#vrings.keys()) await this.#start(index);
  }

  async #pauseAll(): Promise<void> {
    await Promise.all(this.#vrings.map((vring) => vring.stop()));
  }

  async #stopAll(): Promise<void> {
    await Promise.all(this.#vrings.map((vring) => vring.end()));
  }
}

/** Tells those who serve the queues what the configuration space of their device is now. */
export async function tellConfig({ config }: VirtioConfig, backend: VringBackend): Promise<void> {
  if (config !== null) await backend.configured(config);
}
