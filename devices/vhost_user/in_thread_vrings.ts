import { tearDown, tearDownInTurn } from "../../core/base/teardown.ts";
import { SharedMemory } from "../../ffi/shared_memory.ts";
import { monotonicMs } from "../../ffi/libc/clock.ts";
import { DirtyLog, GuestMemory, type GuestRegion } from "../guest_memory/mod.ts";
import {
  type DeviceModel,
  hasFeature,
  InflightLog,
  type ManageAll,
  mapRing,
  SplitQueue,
  VIRTIO_CONSTANTS as V,
  type VirtqueueDevice,
} from "../virtio/mod.ts";
import { type DeviceQueue, QueueLoop } from "../guest_ring/mod.ts";
import { FrontEndEnds } from "./front_end_ends.ts";
import type { FileRange, QueueSpec, RegionSpec, SignalName, StoppedQueue, WorkerVrings } from "./vring_backend.ts";
import { VringSleeper } from "./vring_sleeper.ts";

/** Words one line for the log of the server. */
export type Log = (line: string) => void;

/** A queue that is being served. */
interface Running {
  readonly spec: QueueSpec;
  readonly device: VirtqueueDevice;
  readonly ends: FrontEndEnds;
  readonly inflight: SharedMemory | null;
  kicked: boolean;
  reported: boolean;
}

/** How a backend serves. */
export interface InThreadOptions {
  /** Look for a while before sleeping. */
  readonly poll: boolean;
  /** Sleep for kicks and completions in one call, instead of in the event loop. */
  readonly block: boolean;
  /** Where lines go. */
  readonly log: Log;
}

/** Backends of this Worker that have queues: one that sleeps would keep the others from their work. */
let backendsAtWork = 0;

/** Serves queues in this Worker: maps the guest's memory, listens to kicks, tells the driver. */
export class InThreadVringBackend implements WorkerVrings {
  onBroken: ((index: number) => void) | null = null;
  manageAll: ManageAll = (order) => this.manage(order);
  readonly #model: DeviceModel;
  readonly #log: Log;
  readonly #block: boolean;
  readonly #loop: QueueLoop;
  readonly #queues = new Map<number, Running>();
  readonly #regions = new Map<number, GuestRegion>();
  #memory: GuestMemory | null = null;
  #dirtyLog: DirtyLog | null = null;
  #sleeper: VringSleeper | null = null;
  #completionFds: readonly number[] = [];
  #notedUnsealed = false;

  /** Serves the queues of `model`. */
  constructor(model: DeviceModel, options: InThreadOptions) {
    this.#model = model;
    this.#log = options.log;
    this.#block = options.block;
    this.#loop = new QueueLoop({
      model,
      spin: options.poll,
      sleeper: () => backendsAtWork === 1 ? this.#sleeper : null,
      nowMs: monotonicMs,
      soon: (run) => void setImmediate(run),
      onBroken: (queue) => this.#reportBroken(queue),
    });
    model.connect?.((order) => this.manageAll(order));
  }

  setMemory(regions: readonly RegionSpec[]): Promise<void> {
    return Promise.try(() => {
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
        tearDown(...[...fresh.values()].map(({ memory }) => () => memory[Symbol.dispose]()));
        throw error;
      }
      const known = new Set(regions.map(({ id }) => id));
      for (const id of this.#regions.keys()) if (!known.has(id)) this.#regions.delete(id);
      for (const [id, region] of fresh) this.#regions.set(id, region);
      const before = this.#memory;
      this.#memory = table;
      this.#noteUnsealed(fresh);
      for (const running of this.#queues.values()) this.#moveQueue(running, table);
      before?.release();
    });
  }

  setLog(log: FileRange | null): Promise<void> {
    return Promise.try(() => {
      const before = this.#dirtyLog;
      this.#dirtyLog = log === null ? null : new DirtyLog(new SharedMemory({ ...log, name: "dirty log" }));
      before?.[Symbol.dispose]();
    });
  }

  startQueue(spec: QueueSpec): Promise<void> {
    return Promise.try(() => {
      const memory = this.#memory;
      if (memory === null) throw new RangeError(`Cannot start queue ${spec.index}: wanted guest memory first`);
      using stack = new DisposableStack();
      const inflight = spec.inflight === null
        ? null
        : stack.use(new SharedMemory({ ...spec.inflight, name: "in-flight file" }));
      const queue = this.#newQueue(spec, memory, inflight);
      const device = this.#model.openQueue(spec.index, queue, spec.features, () => {
        this.#tell(spec.index);
        this.#loop.answered();
      });
      if (this.#queues.size === 0) this.#beginWork(stack);
      const ends = stack.use(new FrontEndEnds(spec, () => this.#kicked(spec.index)));
      this.#sleeper?.add(ends.kickFd);
      stack.move();
      const running: Running = { spec, device, ends, inflight, kicked: false, reported: false };
      this.#queues.set(spec.index, running);
      if (queue.replaysLeft > 0) {
        this.#log(`queue ${spec.index}: ${queue.replaysLeft} requests of the last server are done again`);
      }
      // What the server before this one answered without getting to say so would be waited for for ever.
      this.#tell(spec.index);
      if (!spec.awaitKick) this.#begin(running);
    });
  }

  async stopQueue(index: number): Promise<StoppedQueue> {
    const running = this.#queues.get(index);
    if (running === undefined) throw new RangeError(`Cannot stop queue ${index}: it does not run`);
    const { device, ends, inflight, kicked } = running;
    this.#loop.remove(device);
    await tearDownInTurn(
      () => this.#sleeper?.remove(ends.kickFd),
      () => ends.stopListening(),
      () => device.drain(),
      () => device.close(),
      () => void this.#queues.delete(index),
      () => this.#queues.size === 0 ? this.#endWork() : undefined,
      () => inflight?.[Symbol.dispose](),
      () => ends[Symbol.dispose](),
    );
    return { nextAvail: device.queue.nextAvail, kicked };
  }

  isKicked(index: number): Promise<boolean> {
    return Promise.resolve(this.#queues.get(index)?.kicked ?? false);
  }

  setSignal(index: number, which: SignalName, fd: number): Promise<void> {
    return Promise.try(() => {
      const running = this.#queues.get(index);
      if (running === undefined) return;
      running.ends.setSignal(which, fd);
      // What was to be said before there was a descriptor for it.
      if (which === "call") this.#tell(index);
      else if (running.reported) running.ends.signal("err");
    });
  }

  configured(config: Uint8Array): Promise<void> {
    return Promise.try(() => this.#model.configured(config));
  }

  async manage(order: unknown): Promise<readonly unknown[]> {
    const answer = await this.#model.manage(order);
    // There may be other disks than before.
    this.#watchCompletions();
    return [answer];
  }

  /** Whatever goes wrong with one queue, nothing of this front end is left for the next one. */
  async reset(): Promise<void> {
    const stops = await Promise.allSettled([...this.#queues.keys()].map((index) => this.stopQueue(index)));
    const [memory, dirtyLog] = [this.#memory, this.#dirtyLog];
    this.#memory = this.#dirtyLog = null;
    this.#regions.clear();
    const failures = stops.filter((stop) => stop.status === "rejected");
    tearDown(
      () => dirtyLog?.[Symbol.dispose](),
      () => memory?.release(),
      ...failures.map(({ reason }) => () => {
        throw reason;
      }),
    );
  }

  #newQueue(spec: QueueSpec, memory: GuestMemory, inflight: SharedMemory | null): SplitQueue {
    if (spec.inflight !== null && spec.inflight.queueSize < spec.size) {
      const { queueSize } = spec.inflight;
      throw new RangeError(`Cannot track a ring of ${spec.size} entries in an in-flight file for ${queueSize}`);
    }
    return new SplitQueue({
      views: mapRing(memory, spec),
      memory,
      nextAvail: spec.nextAvail,
      eventIndex: hasFeature(spec.features, V.VIRTIO_RING_F_EVENT_IDX),
      indirect: hasFeature(spec.features, V.VIRTIO_RING_F_INDIRECT_DESC),
      dirtyLog: spec.logging ? this.#dirtyLog : null,
      usedLogAddress: spec.usedLogAddress,
      inflight: inflight === null ? null : new InflightLog(inflight.bytes, spec.inflight!.queueSize),
    });
  }

  #beginWork(stack: DisposableStack): void {
    backendsAtWork++;
    stack.defer(() => this.#endWork());
    if (!this.#block) return;
    this.#sleeper = new VringSleeper();
    this.#watchCompletions();
  }

  /** Sleeps for the disks that the model has now, and for no others. */
  #watchCompletions(): void {
    const sleeper = this.#sleeper;
    if (sleeper === null) return;
    const [before, now] = [this.#completionFds, this.#model.completionFds];
    for (const fd of before) if (!now.includes(fd)) sleeper.remove(fd);
    for (const fd of now) if (!before.includes(fd)) sleeper.add(fd);
    this.#completionFds = now;
  }

  #endWork(): void {
    backendsAtWork--;
    const sleeper = this.#sleeper;
    this.#sleeper = null;
    this.#completionFds = [];
    sleeper?.[Symbol.dispose]();
  }

  #kicked(index: number): void {
    const running = this.#queues.get(index);
    if (running === undefined) return;
    if (running.kicked) this.#loop.kicked(running.device);
    else this.#begin(running);
  }

  /** Takes requests from now on. */
  #begin(running: Running): void {
    running.kicked = true;
    if (running.device.queue.broken === null) this.#loop.add(running.device);
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
    this.#queues.get(index)?.ends.signal("call");
  }

  #reportBroken(device: DeviceQueue): void {
    for (const [index, running] of this.#queues) {
      if (running.device !== device || running.reported) continue;
      running.reported = true;
      this.#log(`queue ${index} is stopped, because its driver broke a rule: ${device.queue.broken}`);
      running.ends.signal("err");
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
