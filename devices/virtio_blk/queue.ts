import { type DeferCall, deferCallFor } from "../../core/plug/batching.ts";
import { Errno } from "../../core/base/errno.ts";
import type { MemorySource } from "../../core/base/memory.ts";
import { plug, unplug } from "../../core/plug/plug.ts";
import { isUnknownOperation } from "../../core/request/range_fallback.ts";
import { OPCODE_NAMES, RequestFlag } from "../../core/request/request.ts";
import { DescriptorChain, NO_HEAD, type NotifyDriver, type SplitQueue, type VirtqueueDevice } from "../virtio/mod.ts";
import {
  BatchRamp,
  BlockTransfers,
  type CopyPool,
  type DiskFacts,
  type ErrorLog,
  noDiscards,
  noZeroes,
  type ServedDevice,
} from "../disk/mod.ts";
import { MergeBuffer, type MergeLimits } from "./merge.ts";
import { BlkAction, BlkRequest, type BlkRules, BlkStatus, parseRequest } from "./request.ts";
import { deliver, goesStraight, OPCODES, type Run } from "./run.ts";
import { RunPool } from "./run_pool.ts";
import type { BlkStats } from "./stats.ts";

/** What the queues of one disk in one Worker share. */
export interface BlkShared {
  /** The disk. */
  readonly device: ServedDevice;
  /** What is known of the disk. */
  readonly facts: DiskFacts;
  /** Told of what fails. */
  readonly errors: ErrorLog;
  /** What requests are checked against. */
  readonly rules: BlkRules;
  /** Serial number, 20 bytes, filled up with zeroes. */
  readonly serial: Uint8Array;
  /** Bounds of joined runs. */
  readonly merge: MergeLimits;
  /** Tell the driver at the end of a section instead of at once. */
  readonly deferNotify: boolean;
  /** Submit a pass in growing batches instead of whole. */
  readonly batchRamp: boolean;
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
export class BlkQueue implements VirtqueueDevice {
  readonly queue: SplitQueue;
  readonly #shared: BlkShared;
  readonly #chain = new DescriptorChain();
  readonly #requests: (BlkRequest | undefined)[];
  readonly #merge: MergeBuffer;
  readonly #transfers: BlockTransfers<BlkRequest>;
  readonly #runs: RunPool;
  readonly #notify: NotifyDriver;
  readonly #defer: DeferCall;
  /** Writes are durable whatever the cache mode: the driver has no way to flush. */
  readonly #cannotFlush: boolean;
  readonly #ramp: BatchRamp;
  #inFlight = 0;
  #onIdle: (() => void) | null = null;

  /** Serves `queue`; `cannotFlush` says that the driver did not negotiate a flush. */
  constructor(queue: SplitQueue, shared: BlkShared, notify: NotifyDriver, cannotFlush: boolean) {
    this.queue = queue;
    this.#shared = shared;
    this.#notify = notify;
    this.#cannotFlush = cannotFlush;
    this.#ramp = new BatchRamp(shared.batchRamp);
    this.#runs = new RunPool(shared.memory, (run, result) => this.#finishRun(run, result));
    this.#defer = deferCallFor(shared.deferNotify ? "plug" : "none");
    this.#requests = new Array<BlkRequest | undefined>(queue.size).fill(undefined);
    this.#merge = new MergeBuffer(shared.merge, (requests, start, count) => this.#startRun(requests, start, count));
    this.#transfers = new BlockTransfers(shared, (request, errno) => this.#end(request, errno));
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get copying(): number {
    return this.#transfers.active;
  }

  hasWork(): boolean {
    return this.queue.hasWork();
  }

  pass(): number {
    const { queue } = this;
    const { stats } = this.#shared;
    const ramp = this.#ramp;
    const toggles = queue.notificationsOn;
    let count = 0;
    ramp.begin();
    plug();
    try {
      do {
        if (toggles) queue.disableNotifications();
        // A driver can go on adding for ever; so the others get their turn after one ring.
        while (count < queue.size && this.#takeOne()) {
          count++;
          if (!this.#merge.growing && ramp.endsWith(count)) this.#endBatch();
        }
        if (toggles) queue.enableNotifications();
      } while (count < queue.size && queue.hasWork());
      this.#merge.flush();
    } finally {
      unplug();
    }
    if (ramp.tells(count)) ramp.instant = this.#answersInside();
    stats.passes++;
    stats.requests += count;
    return count;
  }

  /** Submits what was taken so far, and answers it where the disk does so at once. */
  #endBatch(): void {
    this.#merge.flush();
    try {
      unplug();
    } finally {
      plug();
    }
    if (this.#ramp.instant) this.#ramp.instant = this.#answersInside();
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
    this.#runs.close();
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
        return this.#startRange(request);
      case BlkAction.getId:
        request.length = request.data.write(this.#shared.serial);
        return this.#answer(request, BlkStatus.ok);
      case BlkAction.answer:
        if (request.refusal !== "") this.#shared.errors.refused(request.offset, request.length, request.refusal);
        return this.#answer(request, request.status);
    }
  }

  get #durableWrites(): boolean {
    return this.#cannotFlush || this.#shared.writeThrough;
  }

  #startRun(requests: readonly BlkRequest[], start: number, count: number): void {
    const { device, stats } = this.#shared;
    for (let index = start; index < start + count; index++) {
      const { offset, data } = requests[index]!;
      if (goesStraight(device, offset, data)) continue;
      return this.#startTransfers(requests, start, count);
    }
    if (this.#startStraight(requests, start, count)) stats.runs++;
  }

  /** Discards or zeroes: by the device where the range is whole blocks and it knows how. */
  #startRange(request: BlkRequest): void {
    const { device, facts } = this.#shared;
    const known = request.action === BlkAction.discard ? facts.discards : facts.zeroes;
    const whole = ((request.offset | request.length) & (device.alignment.offset - 1)) === 0;
    if (known && whole) this.#startAlone(request);
    else this.#startTransfers([request], 0, 1);
  }

  #startAlone(request: BlkRequest): void {
    this.#startStraight([request], 0, 1);
  }

  /** Starts requests whose way to the driver is straight, and returns whether it was. */
  #startStraight(requests: readonly BlkRequest[], start: number, count: number): boolean {
    const { action, offset } = requests[start]!;
    const run = this.#runs.take();
    if (run === null) {
      for (let each = start; each < start + count; each++) this.#end(requests[each]!, Errno.ENOMEM);
      return false;
    }
    run.fill(requests, start, count, this.#isDurable(action) ? RequestFlag.fua : 0);
    const { locks } = this.#shared.facts;
    if (locks !== null && (action === BlkAction.write || action === BlkAction.writeZeroes)) {
      const last = requests[start + count - 1]!;
      const length = last.offset + last.length - offset;
      if (!locks.take(offset, length, false)) {
        this.#runs.give(run);
        this.#startTransfers(requests, start, count);
        return false;
      }
      run.lockedBytes = length;
    }
    this.#submit(run);
    return true;
  }

  /** Takes the way of requests that cannot go to the driver as they are, one by one. */
  #startTransfers(requests: readonly BlkRequest[], start: number, count: number): void {
    for (let index = start; index < start + count; index++) {
      const request = requests[index]!;
      const { action } = request;
      if (action <= BlkAction.write) this.#shared.stats.copied++;
      this.#transfers.start(OPCODES[action]!, request, this.#isDurable(action));
    }
  }

  #isDurable(action: BlkAction): boolean {
    return (action === BlkAction.write || action === BlkAction.writeZeroes) && this.#durableWrites;
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
    const { count, requests, lockedBytes } = run;
    if (lockedBytes > 0) {
      run.lockedBytes = 0;
      this.#shared.facts.locks!.release(requests[0]!.offset, lockedBytes, false);
    }
    if (result < 0 && count > 1) {
      // Only what is really bad may fail: each request once more, alone.
      const again = requests.slice(0, count);
      this.#runs.give(run);
      for (const request of again) this.#startAlone(request);
      return;
    }
    this.#runs.give(run);
    if (result < 0) return this.#failAlone(requests[0]!, -result);
    for (let index = 0; index < count; index++) this.#answer(requests[index]!, BlkStatus.ok);
  }

  /** A request that went to the driver by itself has failed: a device that does not know a range is no error. */
  #failAlone(request: BlkRequest, errno: number): void {
    const { facts } = this.#shared;
    const unknown = isUnknownOperation(errno);
    if (request.action === BlkAction.discard && unknown) {
      noDiscards(facts);
      return this.#answer(request, BlkStatus.ok);
    }
    if (request.action === BlkAction.writeZeroes && unknown) {
      noZeroes(facts);
      return this.#startTransfers([request], 0, 1);
    }
    this.#end(request, errno);
  }

  /** Answers a request, and tells of one that has failed. */
  #end(request: BlkRequest, errno: number): void {
    if (errno === 0) return this.#answer(request, BlkStatus.ok);
    const { action, offset, length } = request;
    this.#shared.errors.failed(OPCODE_NAMES[OPCODES[action]!]!, offset, length, errno);
    this.#answer(request, BlkStatus.ioError);
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
