import { StorageError } from "../../core/errors.ts";
import { closeFile, duplicateFile, signalEventFd } from "../../ffi/libc/mod.ts";
import { SharedMemory } from "../../ffi/shared_memory.ts";
import { Timer } from "../../ffi/timer.ts";
import { WaitSet } from "../../ffi/wait_set.ts";
import { eventFdWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import { monotonicMs } from "../../ffi/libc/clock.ts";
import { DirtyLog, GuestMemory, type GuestRegion } from "../guest_memory/mod.ts";
import {
  type DeviceModel,
  type DeviceQueue,
  InflightLog,
  mapRing,
  QueueLoop,
  type Sleeper,
  SplitQueue,
  TURN_MS,
  VIRTIO_CONSTANTS as V,
} from "../virtio/mod.ts";
import type { FileRange, QueueHost, QueueSpec, RegionSpec } from "./host.ts";

/** Words one line for the log of the server. */
export type Log = (line: string) => void;

/** A queue that is being served. */
interface Running {
  readonly spec: QueueSpec;
  readonly device: DeviceQueue;
  readonly kickFd: number;
  readonly wakeup: Wakeup;
  readonly inflight: SharedMemory | null;
  readonly errFd: number;
  callFd: number;
  reported: boolean;
}

/** How a host serves. */
export interface LocalHostOptions {
  /** Look for a while before sleeping. */
  readonly poll: boolean;
  /** Sleep for kicks and completions in one call, instead of in the event loop. */
  readonly block: boolean;
  /** Where lines go. */
  readonly log: Log;
}

/** Sleeps for kicks, completions and the end of the turn. */
class HostSleeper implements Sleeper, Disposable {
  readonly #set = new WaitSet();
  readonly #turn = new Timer(TURN_MS);

  constructor() {
    this.#set.add(this.#turn.fd);
  }

  add(fd: number): void {
    this.#set.add(fd);
  }

  remove(fd: number): void {
    this.#set.remove(fd);
  }

  startTurn(): void {
    this.#turn.start();
  }

  sleep(): void {
    this.#set.sleep();
  }

  [Symbol.dispose](): void {
    this.#set[Symbol.dispose]();
    this.#turn[Symbol.dispose]();
  }
}

/** Hosts of this Worker that have queues: one that sleeps would keep the others from their work. */
let hostsAtWork = 0;

/** Serves queues in this Worker: maps the guest's memory, listens to kicks, tells the driver. */
export class LocalHost implements QueueHost {
  onBroken: ((index: number) => void) | null = null;
  readonly #model: DeviceModel;
  readonly #log: Log;
  readonly #block: boolean;
  readonly #loop: QueueLoop;
  readonly #queues = new Map<number, Running>();
  readonly #regions = new Map<number, GuestRegion>();
  #memory: GuestMemory | null = null;
  #dirtyLog: DirtyLog | null = null;
  #sleeper: HostSleeper | null = null;
  #notedUnsealed = false;

  /** Serves the queues of `model`. */
  constructor(model: DeviceModel, options: LocalHostOptions) {
    this.#model = model;
    this.#log = options.log;
    this.#block = options.block;
    this.#loop = new QueueLoop({
      model,
      spin: options.poll,
      sleeper: () => hostsAtWork === 1 ? this.#sleeper : null,
      nowMs: monotonicMs,
      soon: (run) => void setImmediate(run),
      onBroken: (queue) => this.#reportBroken(queue),
    });
  }

  setMemory(regions: readonly RegionSpec[]): Promise<void> {
    return attempt(() => {
      const mapped: GuestRegion[] = [];
      const fresh = new Map<number, GuestRegion>();
      let table: GuestMemory;
      try {
        for (const spec of regions) {
          const region = this.#regions.get(spec.id) ?? mapRegion(spec);
          if (!this.#regions.has(spec.id)) fresh.set(spec.id, region);
          mapped.push(region);
        }
        table = new GuestMemory(mapped);
      } catch (error) {
        for (const region of fresh.values()) region.memory[Symbol.dispose]();
        throw error;
      }
      const known = new Set(regions.map(({ id }) => id));
      for (const id of this.#regions.keys()) if (!known.has(id)) this.#regions.delete(id);
      for (const [id, region] of fresh) this.#regions.set(id, region);
      this.#memory?.release();
      this.#memory = table;
      this.#noteUnsealed(fresh);
      for (const running of this.#queues.values()) this.#moveQueue(running, table);
    });
  }

  setLog(log: FileRange | null): Promise<void> {
    return attempt(() => {
      const next = log === null ? null : new DirtyLog(new SharedMemory({ ...log, name: "dirty log" }));
      this.#dirtyLog?.[Symbol.dispose]();
      this.#dirtyLog = next;
    });
  }

  startQueue(spec: QueueSpec): Promise<void> {
    return attempt(() => {
      const memory = this.#memory;
      if (memory === null) throw new RangeError(`Cannot start queue ${spec.index}: wanted guest memory first`);
      using stack = new DisposableStack();
      const inflight = spec.inflight === null
        ? null
        : stack.use(new SharedMemory({ ...spec.inflight, name: "in-flight file" }));
      const queue = this.#newQueue(spec, memory, inflight);
      const device = this.#model.openQueue(queue, spec.features, () => {
        this.#tell(spec.index);
        this.#loop.answered();
      });
      if (this.#queues.size === 0) this.#beginWork(stack);
      const { kickFd, wakeup } = this.#listen(stack, spec);
      const callFd = adoptCopy(stack, spec.callFd);
      const errFd = adoptCopy(stack, spec.errFd);
      stack.move();
      this.#queues.set(spec.index, { spec, device, kickFd, wakeup, inflight, errFd, callFd, reported: false });
      if (queue.replaysLeft > 0) {
        this.#log(`queue ${spec.index}: ${queue.replaysLeft} requests of the last server are done again`);
      }
      // What the server before this one answered without getting to say so would be waited for for ever.
      this.#tell(spec.index);
      this.#loop.add(device);
    });
  }

  async stopQueue(index: number): Promise<number> {
    const running = this.#queues.get(index);
    if (running === undefined) throw new RangeError(`Cannot stop queue ${index}: it does not run`);
    this.#loop.remove(running.device);
    try {
      this.#sleeper?.remove(running.kickFd);
    } finally {
      running.wakeup[Symbol.dispose]();
      await running.device.drain();
      running.device.close();
      this.#queues.delete(index);
      if (this.#queues.size === 0) this.#endWork();
      running.inflight?.[Symbol.dispose]();
      for (const fd of [running.callFd, running.errFd]) if (fd >= 0) closeFile(fd, `queue ${index}`);
    }
    return running.device.queue.nextAvail;
  }

  setCall(index: number, callFd: number): Promise<void> {
    return attempt(() => {
      const running = this.#queues.get(index);
      if (running === undefined) return;
      const copy = callFd < 0 ? -1 : duplicateFile(callFd, `call descriptor of queue ${index}`);
      if (running.callFd >= 0) closeFile(running.callFd, `queue ${index}`);
      running.callFd = copy;
      this.#tell(index);
    });
  }

  configured(config: Uint8Array): Promise<void> {
    return attempt(() => this.#model.configured(config));
  }

  /** Whatever goes wrong with one queue, nothing of this front end is left for the next one. */
  async reset(): Promise<void> {
    const stops = await Promise.allSettled([...this.#queues.keys()].map((index) => this.stopQueue(index)));
    this.#dirtyLog?.[Symbol.dispose]();
    this.#dirtyLog = null;
    this.#regions.clear();
    this.#memory?.release();
    this.#memory = null;
    for (const stop of stops) if (stop.status === "rejected") throw stop.reason;
  }

  #newQueue(spec: QueueSpec, memory: GuestMemory, inflight: SharedMemory | null): SplitQueue {
    if (spec.inflight !== null && spec.inflight.queueSize < spec.size) {
      const { queueSize } = spec.inflight;
      throw new RangeError(`Cannot track a ring of ${spec.size} entries in an in-flight file for ${queueSize}`);
    }
    const has = (bit: { readonly value: number }) => (spec.features >> BigInt(bit.value) & 1n) === 1n;
    return new SplitQueue({
      views: mapRing(memory, spec),
      memory,
      nextAvail: spec.nextAvail,
      eventIndex: has(V.VIRTIO_RING_F_EVENT_IDX),
      indirect: has(V.VIRTIO_RING_F_INDIRECT_DESC),
      dirtyLog: spec.logging ? this.#dirtyLog : null,
      usedLogAddress: spec.usedLogAddress,
      inflight: inflight === null ? null : new InflightLog(inflight.bytes, spec.inflight!.queueSize),
    });
  }

  #beginWork(stack: DisposableStack): void {
    hostsAtWork++;
    stack.defer(() => this.#endWork());
    if (!this.#block) return;
    this.#sleeper = new HostSleeper();
    const { completionFd } = this.#model;
    if (completionFd >= 0) this.#sleeper.add(completionFd);
  }

  #endWork(): void {
    hostsAtWork--;
    this.#sleeper?.[Symbol.dispose]();
    this.#sleeper = null;
  }

  #listen(stack: DisposableStack, { index, kickFd }: QueueSpec): Pick<Running, "kickFd" | "wakeup"> {
    const copy = duplicateFile(kickFd, `kick descriptor of queue ${index}`);
    const wakeup = eventFdWakeup(copy, () => {
      const running = this.#queues.get(index);
      if (running !== undefined) this.#loop.kicked(running.device);
    });
    if (wakeup !== null) {
      stack.use(wakeup);
      this.#sleeper?.add(copy);
      // Others have copies of the descriptor, so closing ours would leave it in the set.
      stack.defer(() => this.#sleeper?.remove(copy));
      return { kickFd: copy, wakeup };
    }
    closeFile(copy, `queue ${index}`);
    throw new StorageError({
      kind: "unsupported",
      op: "listen to",
      target: `kick descriptor of queue ${index}`,
      detail: "wanted an eventfd, and a runtime with Node's pipe handle",
    });
  }

  /** The guest's memory has moved: the rings are looked for in it. */
  #moveQueue({ spec, device }: Running, memory: GuestMemory): void {
    try {
      device.queue.move(mapRing(memory, spec), memory);
    } catch (error) {
      device.queue.broken = `its rings are gone with the guest's memory: ${(error as Error).message}`;
      // Its views point at memory that is unmapped once what is in flight has ended.
      this.#loop.remove(device);
      this.#reportBroken(device);
    }
  }

  #tell(index: number): void {
    const callFd = this.#queues.get(index)?.callFd ?? -1;
    if (callFd >= 0) signalEventFd(callFd);
  }

  #reportBroken(device: DeviceQueue): void {
    for (const [index, running] of this.#queues) {
      if (running.device !== device || running.reported) continue;
      running.reported = true;
      this.#log(`queue ${index} is stopped, because its driver broke a rule: ${device.queue.broken}`);
      if (running.errFd >= 0) signalEventFd(running.errFd);
      this.onBroken?.(index);
    }
  }

  #noteUnsealed(fresh: ReadonlyMap<number, GuestRegion>): void {
    const unsealed = [...fresh.values()].filter(({ memory }) => memory instanceof SharedMemory && !memory.sealed);
    if (unsealed.length === 0 || this.#notedUnsealed) return;
    this.#notedUnsealed = true;
    this.#log(
      `memory regions that are not sealed against shrinking: ${unsealed.length}; a front end that shrinks one ends us`,
    );
  }
}

function mapRegion({ fd, guestAddress, userAddress, byteLength, fileOffset }: RegionSpec): GuestRegion {
  const name = `guest memory at 0x${guestAddress.toString(16)}`;
  return {
    guestAddress,
    userAddress,
    byteLength,
    memory: new SharedMemory({ fd, fileOffset, byteLength, name }),
    tables: 0,
  };
}

function adoptCopy(stack: DisposableStack, fd: number): number {
  if (fd < 0) return -1;
  const copy = duplicateFile(fd, `descriptor ${fd}`);
  stack.defer(() => closeFile(copy, `descriptor ${copy}`));
  return copy;
}

/** Turns what a synchronous step throws into a rejection. */
function attempt(step: () => void): Promise<void> {
  return new Promise((resolve) => {
    step();
    resolve();
  });
}
