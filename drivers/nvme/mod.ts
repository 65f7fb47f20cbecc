import type { Backend, OpenOptions } from "../../core/device/backend.ts";
import { QueueDevice } from "../../core/device/queue_device.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { MAX_OFFSET_BYTES } from "../../core/base/limits.ts";
import type { IoRequest } from "../../core/request/request.ts";
import { tearDownInTurn } from "../../core/base/teardown.ts";
import { parseNvmeAddress } from "./address.ts";
import { MAX_COMMAND_BLOCKS, MAX_RANGE_BLOCKS } from "./commands.ts";
import { type NvmeEnvironment, realEnvironment } from "./environment.ts";
import type { NamespaceIdentity } from "./identify.ts";
import { commandMaxBytes, type FormatLimits, type NamespaceTarget } from "./namespace.ts";
import { MAX_COMMAND_BYTES } from "./prp.ts";
import { MAX_QUEUE_DEPTH, type SharedQueue } from "./shared_queue.ts";
import { NvmeStatusError } from "./status.ts";
import { acquireController, type OpenController, releaseController } from "./worker_controllers.ts";

/** Block sizes that the driver serves, as logarithms: 512 and 4096 bytes. */
const BLOCK_SHIFTS: readonly number[] = [9, 12];

/** What the fields of a command and the memory of one slot allow. */
const FORMAT_LIMITS: FormatLimits = {
  commandBytes: MAX_COMMAND_BYTES,
  commandBlocks: MAX_COMMAND_BLOCKS,
  rangeBlocks: MAX_RANGE_BLOCKS,
};

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

/** One open namespace. */
class NvmeDevice extends QueueDevice implements NamespaceTarget {
  readonly driver = "nvme";
  readonly nsid: number;
  readonly blockShift: number;
  readonly #sizeBytes: number;
  protected readonly kernelQueue = "queue pair";
  readonly #owner: OpenController;
  readonly #shared: SharedQueue;
  readonly #options: OpenOptions;

  constructor(owner: OpenController, shared: SharedQueue, namespace: NamespaceIdentity, options: OpenOptions) {
    const { controller, bounce } = owner;
    const { queue, completionLoop, interrupt } = shared;
    const { nsid, blockShift, blockCount } = namespace;
    const blockSize = 2 ** blockShift;
    const sizeBytes = blockCount * blockSize;
    const { readOnly = false, wait = "event" } = options;
    super({
      target: `${controller.port.address}/${nsid}`,
      // The kernel gives the VFIO group of a controller to one owner.
      info: {
        kind: "block device",
        blockSize,
        alignment: { memory: blockSize, offset: blockSize },
        readOnly,
        direct: true,
        singleOwner: true,
      },
      queue,
      completionLoop,
      completionFd: wait === "event" ? interrupt.completionFd : -1,
      registrar: controller,
      memory: controller.dma,
      bounce,
      attemptLimits: { sizeBytes, maxBytes: commandMaxBytes(controller.identity.limits, FORMAT_LIMITS, blockShift) },
    }, options);
    this.#owner = owner;
    this.#shared = shared;
    this.#options = options;
    this.nsid = nsid;
    this.blockShift = blockShift;
    this.#sizeBytes = sizeBytes;
  }

  override get notes(): readonly string[] {
    const { resets, lastReset, wasGivenBack } = this.#owner.controller;
    const reset = `The controller was reset ${resets} times, the last time because ${lastReset}`;
    const givenBack = "The kernel asked for the controller and got it: it was unplugged or taken from vfio-pci";
    return [...resets > 0 ? [reset] : [], ...wasGivenBack ? [givenBack] : []];
  }

  size(): number {
    return this.#sizeBytes;
  }

  resize(): void {
    const detail = "wanted a regular file";
    throw new StorageError({ kind: "unsupported", op: "resize", target: this.target, detail });
  }

  explain({ deviceStatus }: IoRequest): { readonly detail: string; readonly cause: Error } | undefined {
    if (deviceStatus === 0) return undefined;
    const cause = new NvmeStatusError(deviceStatus);
    return { detail: cause.message, cause };
  }

  /** Memory is mapped when it is allocated; there is nothing to register. */
  register(): void {}

  unregister(): void {}

  /** A reset ends what the device does not: each request completes, and nothing writes to memory afterwards. */
  protected override async quiesce(drainMs: number): Promise<boolean> {
    if (await super.quiesce(drainMs)) return true;
    this.#owner.controller.requestReset(`${this.active} requests were in flight ${drainMs} ms after close`);
    return await super.quiesce(Infinity);
  }

  protected release(): Promise<void> {
    return tearDownInTurn(
      () => this.#owner.releaseQueue(this.#shared, this.#options),
      () => releaseController(this.#owner.controller.port.address, this.#owner),
    );
  }

  /** Nothing is ever left behind: a reset ends what is in flight. */
  protected leak(): void {}
}
