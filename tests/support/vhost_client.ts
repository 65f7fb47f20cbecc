/**
 * A raw front end of vhost-user: sends any message, well-formed or not, and drives one queue or several. For our own
 * server and for qemu-storage-daemon.
 *
 * @module
 */
import { closeFile, libc, newEventFd, signalEventFd } from "../../ffi/libc/mod.ts";
import { newSharedFile, SharedMemory } from "../../ffi/shared_memory.ts";
import { connectTo, receive, send, waitReadable } from "../../ffi/unix_socket.ts";
import { MEMORY_REGION, VRING_ADDR } from "../../devices/vhost_user/layout.ts";
import { u64Payload, vringStatePayload } from "../../devices/vhost_user/payload.ts";
import {
  CONFIG,
  HEADER,
  HeaderFlag,
  MEMORY_TABLE,
  type MessageName,
  messageNumber,
} from "../../devices/vhost_user/wire.ts";
import type { GuestRequest } from "./blk_requests.ts";
import { TestGuest, type Used, VirtioDriver } from "./virtio_driver.ts";

/** More than any answer takes; only a bug waits for it. */
const DEADLINE_MS = 20_000;

/** Fills what lies around a guest's memory. */
export const GUARD = 0xa5;

/** An answer. */
export interface Reply {
  readonly request: number;
  readonly payload: DataView<ArrayBuffer>;
  readonly fds: readonly number[];
}

/** The bytes of one message. */
export function messageBytes(
  request: number,
  flags: number,
  payload: Uint8Array,
  size = payload.length,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER.byteLength + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(HEADER.fields.request.offset, request, true);
  view.setUint32(HEADER.fields.flags.offset, flags, true);
  view.setUint32(HEADER.fields.size.offset, size, true);
  bytes.set(payload, HEADER.byteLength);
  return bytes;
}

/** Payload of a memory region. */
export function regionBytes(guest: TestGuest, fileOffset = 0): Uint8Array<ArrayBuffer> {
  const { guestAddress, userAddress, byteLength } = guest.region;
  const bytes = new Uint8Array(MEMORY_REGION.byteLength);
  const view = new DataView(bytes.buffer);
  const { fields } = MEMORY_REGION;
  view.setBigUint64(fields.guestAddress.offset, BigInt(guestAddress), true);
  view.setBigUint64(fields.byteLength.offset, BigInt(byteLength), true);
  view.setBigUint64(fields.userAddress.offset, BigInt(userAddress), true);
  view.setBigUint64(fields.fileOffset.offset, BigInt(fileOffset), true);
  return bytes;
}

/** Payload of SET_MEM_TABLE. */
export function memoryTable(...regions: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MEMORY_TABLE.byteLength + regions.length * MEMORY_REGION.byteLength);
  new DataView(bytes.buffer).setUint32(0, regions.length, true);
  regions.forEach((region, index) => bytes.set(region, MEMORY_TABLE.byteLength + index * MEMORY_REGION.byteLength));
  return bytes;
}

/** Guest memory in a file that can be passed on, with `guardBytes` in front of it and behind it that belong to no guest. */
export class SharedGuest implements Disposable {
  readonly fd: number;
  readonly memory: SharedMemory;
  readonly guest: TestGuest;
  readonly fileOffset: number;
  readonly #guards: readonly SharedMemory[];

  constructor(byteLength = 1 << 20, guestAddress?: number, userAddress?: number, guardBytes = 0) {
    this.fd = newSharedFile("plugio-test-guest", byteLength + 2 * guardBytes);
    this.fileOffset = guardBytes;
    this.memory = this.#map(guardBytes, byteLength);
    this.guest = new TestGuest(this.memory, guestAddress, userAddress);
    const guards = guardBytes === 0 ? [] : [0, guardBytes + byteLength];
    this.#guards = guards.map((fileOffset) => this.#map(fileOffset, guardBytes));
    for (const { bytes } of this.#guards) bytes.fill(GUARD);
  }

  /** False when the server has written outside of the guest's memory. */
  get guardsIntact(): boolean {
    return this.#guards.every(({ bytes }) => bytes.every((byte) => byte === GUARD));
  }

  #map(fileOffset: number, byteLength: number): SharedMemory {
    return new SharedMemory({ fd: this.fd, fileOffset, byteLength, name: "test guest" });
  }

  [Symbol.dispose](): void {
    for (const memory of [this.memory, ...this.#guards]) memory[Symbol.dispose]();
    closeFile(this.fd, "test guest");
  }
}

/** One queue as the front end has it. */
export interface ClientQueue {
  readonly index: number;
  readonly driver: VirtioDriver;
  readonly kickFd: number;
  readonly callFd: number;
}

/** What a queue is set up with. */
export interface QueueOptions {
  readonly base?: number;
  readonly enable?: boolean;
  /** Flags of SET_VRING_ADDR and guest address for the log. */
  readonly addrFlags?: number;
}

export class VhostClient implements Disposable {
  readonly fd: number;
  readonly #queues: ClientQueue[] = [];
  #open = true;

  constructor(path: string) {
    this.fd = connectTo(path);
  }

  /** Sends bytes as they are. */
  raw(bytes: Uint8Array<ArrayBuffer>, fds: readonly number[] = []): void {
    const sent = send(this.fd, bytes, fds, "server");
    if (sent !== bytes.length) throw new Error(`The server took ${sent} of ${bytes.length} bytes`);
  }

  /** Sends a message that is not answered. */
  tell(name: MessageName, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = []): void {
    this.raw(messageBytes(messageNumber(name), HeaderFlag.version, payload), fds);
  }

  /** Sends a message and returns its answer; rejects when the server closes instead. */
  async ask(name: MessageName, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = []): Promise<Reply> {
    this.tell(name, payload, fds);
    const reply = await this.next();
    if (reply === null) throw new Error(`The server closed the connection instead of answering ${name}`);
    if (reply.request !== messageNumber(name)) throw new Error(`${name} was answered by message ${reply.request}`);
    return reply;
  }

  /** Sends a message that wants to know whether it worked. */
  async try(name: MessageName, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = []): Promise<boolean> {
    this.raw(messageBytes(messageNumber(name), HeaderFlag.version | HeaderFlag.needReply, payload), fds);
    const reply = await this.next();
    if (reply === null) throw new Error(`The server closed the connection instead of answering ${name}`);
    return reply.payload.getBigUint64(0, true) === 0n;
  }

  /** Reads the answer of a question about a number. */
  async number(name: MessageName): Promise<bigint> {
    return (await this.ask(name)).payload.getBigUint64(0, true);
  }

  /** The next message of the server, or null when it has closed. */
  async next(fd = this.fd): Promise<Reply | null> {
    const fds: number[] = [];
    const header = await this.#read(fd, HEADER.byteLength, fds);
    if (header === null) return null;
    const payload = await this.#read(fd, header.getUint32(HEADER.fields.size.offset, true), fds);
    return payload === null ? null : { request: header.getUint32(0, true), payload, fds };
  }

  /** Resolves when the server has closed the connection. */
  async closed(): Promise<void> {
    while (await this.next() !== null);
  }

  async #read(fd: number, byteLength: number, fds: number[]): Promise<DataView<ArrayBuffer> | null> {
    const bytes = new Uint8Array(new ArrayBuffer(byteLength));
    for (let done = 0; done < byteLength;) {
      const received = receive(fd, bytes.subarray(done), "server");
      if (received === null) {
        await waitReadable(fd);
        continue;
      }
      if (received.byteLength === 0) return null;
      fds.push(...received.fds);
      done += received.byteLength;
    }
    return new DataView(bytes.buffer);
  }

  /** Negotiates; returns the features that were agreed on. */
  async negotiate(wanted: bigint, protocol: bigint): Promise<bigint> {
    const features = await this.number("GET_FEATURES") & wanted;
    this.tell("SET_PROTOCOL_FEATURES", u64Payload(await this.number("GET_PROTOCOL_FEATURES") & protocol));
    this.tell("SET_OWNER");
    this.tell("SET_FEATURES", u64Payload(features));
    return features;
  }

  /** Reads the configuration space. */
  async config(size = 60): Promise<Uint8Array> {
    const payload = new Uint8Array(CONFIG.byteLength + size);
    new DataView(payload.buffer).setUint32(CONFIG.fields.size.offset, size, true);
    const reply = await this.ask("GET_CONFIG", payload);
    return new Uint8Array(reply.payload.buffer, CONFIG.byteLength);
  }

  /** Gives the server a guest's memory. */
  setMemory(...guests: readonly SharedGuest[]): void {
    this.tell(
      "SET_MEM_TABLE",
      memoryTable(...guests.map(({ guest, fileOffset }) => regionBytes(guest, fileOffset))),
      guests.map(({ fd }) => fd),
    );
  }

  /** Describes a queue to the server, in the order of QEMU, and enables it. */
  startQueue(
    driver: VirtioDriver,
    index = 0,
    { base = 0, enable = true, addrFlags = 0 }: QueueOptions = {},
  ): ClientQueue {
    const queue = { index, driver, kickFd: newEventFd(), callFd: newEventFd() };
    this.#queues.push(queue);
    this.tell("SET_VRING_NUM", vringStatePayload(index, driver.size));
    this.tell("SET_VRING_BASE", vringStatePayload(index, base));
    this.tell("SET_VRING_ADDR", addressBytes(driver, index, addrFlags));
    this.tell("SET_VRING_KICK", u64Payload(BigInt(index)), [queue.kickFd]);
    this.tell("SET_VRING_CALL", u64Payload(BigInt(index)), [queue.callFd]);
    if (enable) this.tell("SET_VRING_ENABLE", vringStatePayload(index, 1));
    return queue;
  }

  /** Offers a request and kicks. */
  submit({ driver, kickFd }: ClientQueue, request: GuestRequest, indirect = false): number {
    const head = driver.add(request.buffers, { indirect });
    signalEventFd(kickFd);
    return head;
  }

  /** Waits for `count` answers. */
  async reap({ driver }: ClientQueue, count: number): Promise<Used[]> {
    const answers: Used[] = [];
    const endMs = performance.now() + DEADLINE_MS;
    while (answers.length < count) {
      answers.push(...driver.reap());
      if (answers.length >= count) break;
      if (performance.now() > endMs) throw new Error(`${answers.length} of ${count} answers came`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return answers;
  }

  /** Offers one request, waits for its answer, and returns the status and the answer's length. */
  async run(queue: ClientQueue, request: GuestRequest, indirect = false): Promise<{ status: number; length: number }> {
    this.submit(queue, request, indirect);
    const [{ length }] = await this.reap(queue, 1) as [Used];
    return { status: queue.driver.guest.at(request.status, 1)[0]!, length };
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeFile(this.fd, "client");
    for (const { kickFd, callFd } of this.#queues) {
      closeFile(kickFd, "kick");
      closeFile(callFd, "call");
    }
  }
}

/** Payload of SET_VRING_ADDR. */
export function addressBytes(driver: VirtioDriver, index: number, flags = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(VRING_ADDR.byteLength);
  const view = new DataView(bytes.buffer);
  const { fields } = VRING_ADDR;
  const { desc, avail, used } = driver.addresses;
  view.setUint32(fields.index.offset, index, true);
  view.setUint32(fields.flags.offset, flags, true);
  view.setBigUint64(fields.desc.offset, BigInt(desc), true);
  view.setBigUint64(fields.used.offset, BigInt(used), true);
  view.setBigUint64(fields.avail.offset, BigInt(avail), true);
  view.setBigUint64(fields.log.offset, BigInt(driver.used), true);
  return bytes;
}

/** Payload of SET_CONFIG. */
export function configWrite(offset: number, ...bytes: readonly number[]): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(CONFIG.byteLength + bytes.length);
  const view = new DataView(payload.buffer);
  view.setUint32(CONFIG.fields.offset.offset, offset, true);
  view.setUint32(CONFIG.fields.size.offset, bytes.length, true);
  payload.set(bytes, CONFIG.byteLength);
  return payload;
}

/** Takes the signals of an eventfd: how many there were since the last time. */
export function signalsOf(eventFd: number): number {
  const count = new BigUint64Array(1);
  return libc().read(eventFd, new Uint8Array(count.buffer), 8n) === 8n ? Number(count[0]) : 0;
}
