import { type DeferCall, deferCallFor } from "../../core/plug/batching.ts";
import type { BouncePool } from "../../core/device/bounce.ts";
import type { BlockLimits, TargetInfo } from "../../core/base/block.ts";
import type { Backend, OpenOptions } from "../../core/device/backend.ts";
import { drained } from "../../core/device/quiesce.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { DEFAULT_DRAIN_MS, MAX_IOVECS, MAX_OFFSET_BYTES } from "../../core/base/limits.ts";
import type { MemorySource } from "../../core/base/memory.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { QueueStats } from "../../core/queue/stats.ts";
import { tearDownInTurn } from "../../core/base/teardown.ts";
import { parseNvmeAddress } from "./address.ts";
import { MAX_COMMAND_BLOCKS, MAX_RANGE_BLOCKS } from "./commands.ts";
import { type NvmeEnvironment, realEnvironment } from "./environment.ts";
import type { NamespaceIdentity } from "./identify.ts";
import { commandMaxBytes, type NamespaceTarget } from "./namespace.ts";
import { MAX_COMMAND_BYTES } from "./prp.ts";
import type { NvmeQueue } from "./queue.ts";
import { MAX_QUEUE_DEPTH, type SharedQueue } from "./shared_queue.ts";
import { NvmeStatusError } from "./status.ts";
import { acquireController, type OpenController, releaseController } from "./worker_controllers.ts";

/** Block sizes that the driver serves, as logarithms: 512 and 4096 bytes. */
const BLOCK_SHIFTS: readonly number[] = [9, 12];

/** Opens a namespace of the controller at a PCI address, `0000:01:00.0/1`. Rejects with StorageError or RangeError. */
export async function openNvme(
  target: string,
  options: OpenOptions,
  environment: NvmeEnvironment = realEnvironment,
): Promise<Backend> {
  const { address, nsid } = parseNvmeAddress(target);
  checkOptions(target, options);
  const owner = await acquireController(address, environment);
  try {
    const namespace = await findNamespace(owner, address, nsid);
    checkNamespace(`${address}/${namespace.nsid}`, namespace, options);
    const shared = await owner.acquireQueue(options);
    return new NvmeDevice(owner, shared, namespace, options);
  } catch (error) {
    await releaseController(address, owner);
    throw error;
  }
}

function checkOptions(target: string, { queueDepth, create, truncate }: OpenOptions): void {
  if (queueDepth !== undefined && !(Number.isInteger(queueDepth) && queueDepth >= 1 && queueDepth <= MAX_QUEUE_DEPTH)) {
    throw new RangeError(`Cannot use queueDepth ${queueDepth}: wanted an integer from 1 to ${MAX_QUEUE_DEPTH}`);
  }
  if (create !== true && truncate !== true) return;
  const detail = "a namespace is neither created nor emptied by opening it; wanted no create, no truncate";
  throw new StorageError({ kind: "unsupported", op: "open", target, detail });
}

async function findNamespace(
  { controller }: OpenController,
  address: string,
  nsid: number | null,
): Promise<NamespaceIdentity> {
  const active = await controller.tasks.run(controller.activeNamespaces());
  const names = active.map((each) => `${address}/${each}`).join(", ");
  const fail = (target: string, detail: string) => new StorageError({ kind: "open", op: "open", target, detail });
  if (active.length === 0) throw fail(address, "the controller has no active namespace; wanted one");
  if (nsid === null && active.length > 1) {
    throw fail(address, `it has ${active.length} namespaces; wanted one of ${names}`);
  }
  const wanted = nsid ?? active[0]!;
  if (!active.includes(wanted)) throw fail(`${address}/${wanted}`, `there is no such namespace; wanted ${names}`);
  return await controller.tasks.run(controller.identifyNamespace(wanted));
}

/** Throws for a namespace that the driver cannot serve or that must not be written to. */
function checkNamespace(target: string, namespace: NamespaceIdentity, options: OpenOptions): void {
  const { format, blockShift, metadataBytes, protection, writeProtected, blockCount } = namespace;
  const refuse = (detail: string, errno?: number) =>
    new StorageError({ kind: errno === undefined ? "unsupported" : "open", op: "open", target, detail, errno });
  if (metadataBytes > 0 || protection) {
    throw refuse(
      `its LBA format ${format} has ${metadataBytes} bytes of metadata with each block` +
        `${protection ? ", and end-to-end protection is on" : ""}; wanted a format without`,
    );
  }
  if (!BLOCK_SHIFTS.includes(blockShift)) {
    throw refuse(`its LBA format ${format} has blocks of ${2 ** blockShift} bytes; wanted 512 or 4096`);
  }
  if (blockCount * 2 ** blockShift > MAX_OFFSET_BYTES) throw refuse("it is larger than 2^53 bytes; wanted less");
  if (writeProtected && options.readOnly !== true) {
    throw refuse("the namespace is write protected; wanted readOnly: true", Errno.EROFS);
  }
}

/** What a device defers when it has enqueued a request: one stable function, so that the plug drops repeats. */
function submit(queue: NvmeQueue): void {
  queue.submit();
}

/** One open namespace. */
class NvmeDevice implements Backend, NamespaceTarget {
  readonly driver = "nvme";
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly registrar: unknown;
  readonly memory: MemorySource;
  readonly bounce: BouncePool;
  readonly nsid: number;
  readonly blockShift: number;
  readonly sizeBytes: number;
  readonly maxBytes: readonly number[];
  active = 0;
  onIdle: (() => void) | null = null;
  readonly #owner: OpenController;
  readonly #shared: SharedQueue;
  readonly #options: OpenOptions;
  readonly #defer: DeferCall;
  #closing: Promise<void> | null = null;

  constructor(owner: OpenController, shared: SharedQueue, namespace: NamespaceIdentity, options: OpenOptions) {
    const { controller } = owner;
    this.#owner = owner;
    this.#shared = shared;
    this.#options = options;
    this.#defer = deferCallFor(options.batch ?? "auto");
    this.nsid = namespace.nsid;
    this.blockShift = namespace.blockShift;
    this.sizeBytes = namespace.blockCount * 2 ** namespace.blockShift;
    this.target = `${controller.port.address}/${namespace.nsid}`;
    const blockSize = 2 ** namespace.blockShift;
    this.info = {
      kind: "block device",
      blockSize,
      alignment: { memory: blockSize, offset: blockSize },
      readOnly: options.readOnly ?? false,
      direct: true,
      // The kernel gives the VFIO group of a controller to one owner.
      singleOwner: true,
    };
    const format = {
      commandBytes: MAX_COMMAND_BYTES,
      commandBlocks: MAX_COMMAND_BLOCKS,
      rangeBlocks: MAX_RANGE_BLOCKS,
    };
    this.maxBytes = commandMaxBytes(controller.identity.limits, format, namespace.blockShift);
    this.memory = controller.dma;
    this.bounce = owner.bounce;
    this.registrar = controller;
    this.stats = shared.queue.stats;
    this.limits = {
      maxInflight: shared.queue.maxInflight,
      maxTransferBytes: MAX_OFFSET_BYTES,
      maxIovecs: MAX_IOVECS,
    };
  }

  get notes(): readonly string[] {
    const { resets, lastReset, wasGivenBack } = this.#owner.controller;
    const reset = `The controller was reset ${resets} times, the last time because ${lastReset}`;
    const givenBack = "The kernel asked for the controller and got it: it was unplugged or taken from vfio-pci";
    return [...resets > 0 ? [reset] : [], ...wasGivenBack ? [givenBack] : []];
  }

  get broken(): boolean {
    return this.#shared.queue.broken;
  }

  get completionFd(): number {
    const { wait = "event" } = this.#options;
    return wait === "event" ? this.#shared.interrupt.completionFd : -1;
  }

  size(): number {
    return this.sizeBytes;
  }

  resize(): void {
    const detail = "wanted a regular file";
    throw new StorageError({ kind: "unsupported", op: "resize", target: this.target, detail });
  }

  enqueue(request: IoRequest): void {
    const { queue } = this.#shared;
    queue.enqueue(request, this);
    this.#defer(submit, queue);
  }

  cancel(request: IoRequest): void {
    this.#shared.queue.cancel(request);
  }

  explain({ deviceStatus }: IoRequest): { readonly detail: string; readonly cause: Error } | undefined {
    if (deviceStatus === 0) return undefined;
    const cause = new NvmeStatusError(deviceStatus);
    return { detail: cause.message, cause };
  }

  /** Memory is mapped when it is allocated; there is nothing to register. */
  register(): void {}

  unregister(): void {}

  run(done: () => boolean, minCompletions: number): void {
    try {
      this.#shared.queue.run(done, minCompletions, this.#options.wait === "poll");
    } finally {
      // Also after an exception of `done`: with nothing in flight the process may end.
      this.#shared.completionLoop.settle();
    }
  }

  poll(): number {
    return this.#shared.completionLoop.poll();
  }

  close(drainMs: number = DEFAULT_DRAIN_MS): Promise<void> {
    return this.#closing ??= this.#close(drainMs);
  }

  async #close(drainMs: number): Promise<void> {
    const { controller } = this.#owner;
    if (!await this.#drain(drainMs)) {
      // A reset ends what the device does not: each request completes, and nothing writes to memory afterwards.
      controller.requestReset(`${this.active} requests were in flight ${drainMs} ms after close`);
      await this.#drain(Infinity);
    }
    await tearDownInTurn(
      () => this.#owner.releaseQueue(this.#shared, this.#options),
      () => releaseController(controller.port.address, this.#owner),
    );
  }

  #drain(drainMs: number): Promise<boolean> {
    if (this.active > 0) this.#shared.queue.submit();
    return drained(this, drainMs);
  }
}
