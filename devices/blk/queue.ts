import { type DeferCall, deferCallFor } from "../../core/batching.ts";
import type { MemorySource, OwnedMemory } from "../../core/memory.ts";
import { plug, unplug } from "../../core/plug.ts";
import { RequestFlag } from "../../core/request.ts";
import { tearDown } from "../../core/teardown.ts";
import { DescriptorChain, type DeviceQueue, NO_HEAD, type NotifyDriver, type SplitQueue } from "../virtio/mod.ts";
import { IOVEC_BYTES } from "../../core/iovec.ts";
import { CopiedTransfers, type CopyPool } from "./copying.ts";
import { MergeBuffer, type MergeLimits } from "./merge.ts";
import { BlkAction, BlkRequest, type BlkRules, BlkStatus, parseRequest } from "./request.ts";
import { deliver, goesStraight, MAX_RUN_SEGMENTS, Run, type ServedDevice } from "./run.ts";
import { PassShares } from "./shares.ts";
import type { BlkStats } from "./stats.ts";

/** Runs made when the first is needed: their tables share one piece of memory. */
const RUNS_PER_SLAB = 32;

/** What the queues of one disk in one Worker share. */
export interface BlkShared {
  /** The disk. */
  readonly device: ServedDevice;
  /** What requests are checked against. */
  readonly rules: BlkRules;
  /** Serial number, 20 bytes, filled up with zeroes. */
  readonly serial: Uint8Array;
  /** Bounds of joined runs. */
  readonly merge: MergeLimits;
  /** Tell the driver at the end of a section instead of at once. */
  readonly deferNotify: boolean;
  /** Submit a pass in growing shares instead of whole. */
  readonly shares: boolean;
  /** Bounds what is copied, for all queues together. */
  readonly copyPool: CopyPool;
  /** Memory for tables of segments. */
  readonly memory: MemorySource;
  /** Counters. */
  readonly stats: BlkStats;
  /** True while writes are durable when they are answered. */
  writeThrough: boolean;
}

/** One virtqueue of a disk: takes requests, joins neighbours, starts them, answers. */
export class BlkQueue implements DeviceQueue {
  readonly queue: SplitQueue;
  readonly #shared: BlkShared;
  readonly #chain = new DescriptorChain();
  readonly #requests: (BlkRequest | undefined)[];
  readonly #merge: MergeBuffer;
  readonly #copies: CopiedTransfers;
  readonly #freeRuns: Run[] = [];
  readonly #slabs: OwnedMemory[] = [];
  readonly #notify: NotifyDriver;
  readonly #defer: DeferCall;
  /** Writes are durable whatever the cache mode: the driver has no way to flush. */
  readonly #cannotFlush: boolean;
  readonly #runDone = (run: Run, result: number) => this.#finishRun(run, result);
  readonly #shares: PassShares;
  #inFlight = 0;
  #onIdle: (() => void) | null = null;

  /** Serves `queue`; `cannotFlush` says that the driver did not negotiate a flush. */
  constructor(queue: SplitQueue, shared: BlkShared, notify: NotifyDriver, cannotFlush: boolean) {
    this.queue = queue;
    this.#shared = shared;
    this.#notify = notify;
    this.#cannotFlush = cannotFlush;
    this.#shares = new PassShares(shared.shares);
    this.#defer = deferCallFor(shared.deferNotify ? "plug" : "none");
    this.#requests = new Array<BlkRequest | undefined>(queue.size).fill(undefined);
    this.#merge = new MergeBuffer(shared.merge, (requests, start, count) => this.#startRun(requests, start, count));
    this.#copies = new CopiedTransfers(
      shared.device,
      shared.copyPool,
      (request, succeeded) => this.#answer(request, succeeded ? BlkStatus.ok : BlkStatus.ioError),
    );
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get copying(): number {
    return this.#copies.active;
  }

  pass(): number {
    const { queue } = this;
    const { stats } = this.#shared;
    const shares = this.#shares;
    const toggles = queue.notificationsOn;
    let count = 0;
    shares.begin();
    plug();
    try {
      do {
        if (toggles) queue.disableNotifications();
        // A driver can go on adding for ever; so the others get their turn after one ring.
        while (count < queue.size && this.#takeOne()) {
          count++;
          if (!this.#merge.growing && shares.endsWith(count)) this.#endShare();
        }
        if (toggles) queue.enableNotifications();
      } while (count < queue.size && queue.hasWork());
      this.#merge.flush();
    } finally {
      unplug();
    }
    if (shares.tells(count)) shares.instant = this.#answersInside();
    stats.passes++;
    stats.requests += count;
    return count;
  }

  /** Submits what was taken so far, and answers it where the disk does so at once. */
  #endShare(): void {
    this.#merge.flush();
    try {
      unplug();
    } finally {
      plug();
    }
    if (this.#shares.instant) this.#shares.instant = this.#answersInside();
  }

  /** Answers what the submit has completed; true when that was everything. */
  #answersInside(): boolean {
    deliver(this.#shared.device);
    return this.#inFlight === 0;
  }

  drain(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** Gives the tables back; nothing may be in flight. */
  close(): void {
    this.#freeRuns.length = 0;
    tearDown(...this.#slabs.splice(0).map((slab) => () => slab[Symbol.dispose]()));
  }

  #takeOne(): boolean {
    const { queue } = this;
    const head = queue.pop();
    if (head === NO_HEAD) return false;
    const request = this.#requests[head] ??= new BlkRequest();
    if (request.active) return this.#break(`it offers descriptor ${head}, which is in use`);
    const failure = this.#chain.walk(queue.views, head, queue.memory, queue.indirect);
    if (failure !== null) return this.#break(`${failure} (head ${head})`);
    if (!parseRequest(this.#chain, this.#shared.rules, request)) {
      return this.#break(`a request without room for its status (head ${head})`);
    }
    request.head = head;
    request.active = true;
    request.memory = queue.memory;
    queue.memory.acquire();
    this.#inFlight++;
    this.#begin(request);
    return true;
  }

  #break(reason: string): false {
    this.queue.broken = reason;
    return false;
  }

  #begin(request: BlkRequest): void {
    switch (request.action) {
      case BlkAction.read:
      case BlkAction.write:
        return this.#merge.add(request);
      case BlkAction.flush:
        // Only completed writes have to be durable; those taken before would do no harm, but QEMU sends them first.
        if (this.#merge.holdsWrites) this.#merge.flush();
        if (this.#durableWrites) return this.#answer(request, BlkStatus.ok);
        return this.#startAlone(request);
      case BlkAction.discard:
      case BlkAction.writeZeroes:
        this.#merge.flush();
        return this.#startAlone(request);
      case BlkAction.getId:
        request.length = request.data.write(this.#shared.serial);
        return this.#answer(request, BlkStatus.ok);
      case BlkAction.answer:
        return this.#answer(request, request.status);
    }
  }

  get #durableWrites(): boolean {
    return this.#cannotFlush || this.#shared.writeThrough;
  }

  #startRun(requests: readonly BlkRequest[], start: number, count: number): void {
    const { device, stats } = this.#shared;
    const durable = requests[start]!.action === BlkAction.write && this.#durableWrites;
    for (let index = start; index < start + count; index++) {
      if (goesStraight(device, requests[index]!.data)) continue;
      for (let each = start; each < start + count; each++) this.#copies.start(requests[each]!, durable);
      stats.copied += count;
      return;
    }
    const run = this.#takeRun();
    if (run === null) {
      for (let each = start; each < start + count; each++) this.#answer(requests[each]!, BlkStatus.ioError);
      return;
    }
    stats.runs++;
    run.fill(requests, start, count, durable ? RequestFlag.fua : 0);
    this.#submit(run);
  }

  #startAlone(request: BlkRequest): void {
    const run = this.#takeRun();
    if (run === null) return this.#answer(request, BlkStatus.ioError);
    const writes = request.action === BlkAction.write || request.action === BlkAction.writeZeroes;
    const durable = writes && this.#durableWrites;
    run.fill([request], 0, 1, durable ? RequestFlag.fua : 0);
    this.#submit(run);
  }

  #submit(run: Run): void {
    try {
      this.#shared.device.submit(run.io);
    } catch {
      // The disk is closed or refuses the range: the guest is told, and nothing else can be done for it.
      this.#finishRun(run, -1);
    }
  }

  #finishRun(run: Run, result: number): void {
    if (result >= 0 && run.advance()) return this.#submit(run);
    const { count, requests } = run;
    if (result < 0 && count > 1) {
      // Only what is really bad may fail: each request once more, alone.
      const again = requests.slice(0, count);
      this.#freeRuns.push(run);
      for (const request of again) this.#startAlone(request);
      return;
    }
    this.#freeRuns.push(run);
    const status = result < 0 ? BlkStatus.ioError : BlkStatus.ok;
    for (let index = 0; index < count; index++) this.#answer(requests[index]!, status);
  }

  /** A free run, or null where there is no memory for more of them: the guest is told, and may try again. */
  #takeRun(): Run | null {
    const free = this.#freeRuns.pop();
    if (free !== undefined) return free;
    const tableBytes = MAX_RUN_SEGMENTS * IOVEC_BYTES;
    let slab: OwnedMemory;
    try {
      slab = this.#shared.memory.allocate(RUNS_PER_SLAB * tableBytes, IOVEC_BYTES);
    } catch {
      return null;
    }
    this.#slabs.push(slab);
    for (let index = 0; index < RUNS_PER_SLAB; index++) {
      this.#freeRuns.push(new Run(slab, index * tableBytes, this.#runDone));
    }
    return this.#freeRuns.pop()!;
  }

  #answer(request: BlkRequest, status: number): void {
    const { queue } = this;
    const { data, statusAt, action } = request;
    const { stats } = this.#shared;
    statusAt.regions[0]!.memory.bytes[statusAt.offsets[0]!] = status;
    const wrote = status === BlkStatus.ok && (action === BlkAction.read || action === BlkAction.getId);
    const written = wrote ? request.length : 0;
    if (queue.dirtyLog !== null) {
      queue.dirtyLog.markSegments(data, action === BlkAction.read ? data.byteLength : written);
      queue.dirtyLog.markSegments(statusAt, 1);
    }
    queue.push(request.head, written + 1);
    stats.answers++;
    if (status !== BlkStatus.ok) stats.errors++;
    if (queue.shouldNotify()) this.#defer(tellDriver, this);
    request.memory!.release();
    request.memory = null;
    request.active = false;
    if (--this.#inFlight === 0 && this.#onIdle !== null) this.#becameIdle();
  }

  #becameIdle(): void {
    const onIdle = this.#onIdle!;
    this.#onIdle = null;
    onIdle();
  }

  /** The deferred call: one stable function, the queue as key. */
  tell(): void {
    this.#shared.stats.notifications++;
    this.#notify();
  }
}

function tellDriver(queue: BlkQueue): void {
  queue.tell();
}
