import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { type ControllerPort, NVME_CONSTANTS as C } from "../../ffi/vfio_nvme/mod.ts";
import { AdminQueue } from "./admin.ts";
import {
  abortCommand,
  ASYNC_EVENT,
  createCompletionQueue,
  createSubmissionQueue,
  deleteCompletionQueue,
  deleteSubmissionQueue,
  getLogPage,
  identify,
  setQueueCount,
  setReportedEvents,
} from "./commands.ts";
import { DmaSource } from "./dma.ts";
import type { Interrupt, NvmeEnvironment } from "./environment.ts";
import {
  type ControllerIdentity,
  type NamespaceIdentity,
  readControllerIdentity,
  readNamespaceIdentity,
  readNamespaceList,
} from "./identify.ts";
import type { ControllerQueue } from "./host.ts";
import { type Capabilities, decodeCapabilities, GONE, PAGE_BYTES } from "./registers.ts";
import { ControllerSwitch } from "./switch.ts";
import { type Steps, TaskList } from "./task.ts";
import { NVME_EVENTS as events } from "./trace.ts";

/** Pairs of I/O queues of one controller in one Worker: one for each way of waiting and depth in use. */
const MAX_QUEUE_PAIRS = 8;

/**
 * Events that are asked for: all critical warnings of the SMART log that every version knows, bits 4:0. A controller
 * that refuses reports what it likes.
 */
const HEALTH_WARNINGS = 0x1f;

/** Bytes of a log page that are read to clear an event; reading any of it clears. */
const EVENT_LOG_BYTES = 512;

/** Where a controller is in its life. */
type ControllerState = "starting" | "running" | "resetting" | "broken" | "closed";

/**
 * One NVMe controller: start-up, identification, queues, events, reset, shutdown (Base Specification 2.0, 3.5 and 3.6).
 * All work that waits for the device is in steps; `tasks` runs them one after the other.
 */
export class NvmeController {
  /** Registers and mappings. */
  readonly port: ControllerPort;
  /** Memory that the controller reaches. */
  readonly dma: DmaSource;
  /** What runs now and next. */
  readonly tasks: TaskList = new TaskList();
  /** What the registers say of the controller. */
  readonly capabilities: Capabilities;
  /** Events that the controller has reported. */
  asyncEvents = 0;
  /** Times that the controller was reset because something went wrong. */
  resets = 0;
  /** Why the last reset was done, or `""`. */
  lastReset = "";
  /** True once the kernel has asked for the controller and got it. */
  wasGivenBack = false;
  readonly #environment: NvmeEnvironment;
  readonly #switch: ControllerSwitch;
  readonly #admin: AdminQueue;
  readonly #adminInterrupt: Interrupt;
  readonly #askedBack: Interrupt;
  readonly #queues = new Map<number, ControllerQueue>();
  #state: ControllerState = "starting";
  #identity: ControllerIdentity | null = null;
  #queueLimit = 0;

  /** Takes the controller behind `port`; `start` brings it up. Throws StorageError for one that the driver cannot use. */
  constructor(port: ControllerPort, environment: NvmeEnvironment) {
    this.port = port;
    this.#environment = environment;
    const capabilities = decodeCapabilities(port.load(C.NVME_REG_CAP.value), port.load(C.NVME_REG_CAP.value + 4));
    this.capabilities = capabilities;
    this.#switch = new ControllerSwitch(port, capabilities.readyTimeoutMs);
    if (this.status() === GONE) throw this.#unusable("its registers read all ones, wanted a device");
    if (!capabilities.nvmCommandSet) throw this.#unusable("it lacks the NVM command set (CAP.CSS)");
    if (capabilities.minPageBytes > PAGE_BYTES) {
      throw this.#unusable(`it wants pages of ${capabilities.minPageBytes} bytes (CAP.MPSMIN), wanted ${PAGE_BYTES}`);
    }
    if (port.vectorCount < 2) throw this.#unusable(`it has ${port.vectorCount} MSI-X vectors, wanted 2 or more`);
    using stack = new DisposableStack();
    this.dma = new DmaSource(port, environment.memory, () => environment.lockedLimit());
    this.#admin = stack.adopt(
      new AdminQueue(port, this.dma, {
        strideBytes: capabilities.doorbellStrideBytes,
        timeoutMs: environment.timing.adminMs,
      }),
      (admin) => admin.dispose(),
    );
    this.#adminInterrupt = stack.use(environment.openInterrupt(() => this.adminWoken()));
    this.#askedBack = stack.use(environment.openInterrupt(() => this.giveBack()));
    this.#setVectors();
    this.#check(port.setRequestFd(this.#askedBack.fd), "set the interrupts of");
    stack.move();
  }

  /** Where the controller is in its life. */
  get state(): ControllerState {
    return this.#state;
  }

  /** What the controller said of itself when it started. */
  get identity(): ControllerIdentity {
    return this.#identity!;
  }

  /** Brings the controller up, with its admin queue. Throws StorageError. */
  *start(): Steps<void> {
    yield* this.#bringUp();
    this.#state = "running";
  }

  /** Identifiers of the namespaces that are there. */
  *activeNamespaces(): Steps<number[]> {
    return readNamespaceList(yield* this.identifyPage(C.NVME_IDENTIFY_CNS_NS_ACTIVE_LIST.value));
  }

  /** What a namespace says of itself. */
  *identifyNamespace(nsid: number): Steps<NamespaceIdentity> {
    return readNamespaceIdentity(yield* this.identifyPage(C.NVME_IDENTIFY_CNS_NS.value, nsid), nsid);
  }

  /** A structure of Identify, as the controller wrote it. */
  *identifyPage(cns: number, nsid = 0): Steps<Uint8Array> {
    const { page } = this.#admin;
    page.bytes.fill(0);
    yield* this.#admin.execute(identify(cns, page.iova, nsid));
    return page.bytes.slice();
  }

  /** A log page of at most 4 KiB. */
  *logPage(id: number, byteLength: number): Steps<Uint8Array> {
    const { page } = this.#admin;
    page.bytes.fill(0);
    yield* this.#admin.execute(getLogPage(id, byteLength, page.iova));
    return page.bytes.slice(0, byteLength);
  }

  /** A number for a new pair of I/O queues. Throws StorageError of kind `resource` when there is none. */
  freeQueueId(): number {
    for (let qid = 1; qid <= this.#queueLimit; qid++) if (!this.#queues.has(qid)) return qid;
    throw new StorageError({
      kind: "resource",
      op: "create a queue on",
      target: this.port.address,
      detail: `all ${this.#queueLimit} pairs are in use; wanted devices with the same wait and queueDepth`,
    });
  }

  /** Creates a pair of I/O queues in the controller, and again after each reset. */
  *attach(queue: ControllerQueue): Steps<void> {
    yield* this.#createQueues(queue);
    this.#queues.set(queue.pair.qid, queue);
  }

  /** Deletes a pair of I/O queues; nothing is in flight on it. */
  *detach(queue: ControllerQueue): Steps<void> {
    const { qid } = queue.pair;
    this.#queues.delete(qid);
    if (this.#state !== "running") return;
    yield* this.#admin.execute(deleteSubmissionQueue(qid));
    yield* this.#admin.execute(deleteCompletionQueue(qid));
    this.port.setVectors(qid, [-1]);
  }

  /** Asks for a command to be given up; the driver does not wait for the answer. */
  abort(qid: number, cid: number): void {
    if (this.#state === "running") this.#admin.post(abortCommand(qid, cid), () => {});
  }

  /** To be called when the admin queue's interrupt fired, and by a caller that waits without the event loop. */
  adminWoken(): void {
    if (this.#state === "closed") return;
    if (this.tasks.busy) this.tasks.advance();
    else this.#admin.poll();
  }

  /** The controller's state register; all ones when it is gone. */
  status(): number {
    return this.#switch.status();
  }

  /** Resets the controller: what is in flight ends with an error, what waits goes out afterwards. */
  requestReset(reason: string): void {
    if (this.#state !== "running") return;
    this.#state = "resetting";
    this.resets++;
    this.lastReset = reason;
    if (events.reset.hasSubscribers) events.reset.publish({ address: this.port.address, reason });
    for (const queue of this.#queues.values()) queue.suspend();
    void this.tasks.run(this.#recover());
  }

  /** For a caller that blocks the event loop: gives the controller back when the kernel has asked for it. */
  checkAskedBack(): void {
    if (!this.port.closed && this.port.wait(this.#askedBack.fd, 0) > 0) this.giveBack();
  }

  /**
   * Lets go of the controller, because the kernel wants it back and waits for that: it is being unplugged or taken from
   * VFIO. It is reset first, so nothing writes to memory; what is in flight and all that comes fails with ENODEV.
   */
  giveBack(): void {
    if (this.port.closed) return;
    this.#state = "broken";
    this.wasGivenBack = true;
    for (const queue of this.#queues.values()) queue.suspend();
    try {
      this.port[Symbol.dispose]();
    } finally {
      for (const queue of this.#queues.values()) queue.fail(Errno.ENODEV);
    }
  }

  /** Shuts the controller down as the specification wants, then disables it. Ends in any case. */
  *shutdown(): Steps<void> {
    if (this.#state !== "broken") {
      const limitMs = this.#identity?.shutdownMs || this.#environment.timing.shutdownMs;
      yield* this.#switch.shutDown(limitMs);
    }
    this.#state = "closed";
  }

  /** Bus mastering off, reset, mappings ended, and only then memory freed. */
  dispose(): void {
    this.#state = "closed";
    tearDown(
      () => this.port[Symbol.dispose](),
      () => this.#admin.dispose(),
      () => this.#adminInterrupt[Symbol.dispose](),
      () => this.#askedBack[Symbol.dispose](),
    );
  }

  *#bringUp(): Steps<void> {
    this.#check(this.port.setBusMaster(true), "switch bus mastering on for");
    yield* this.#stop();
    this.#admin.configure();
    if (!(yield* this.#switch.enable())) throw this.#switch.late("start");
    const page = yield* this.identifyPage(C.NVME_IDENTIFY_CNS_CTRL.value);
    this.#identity = readControllerIdentity(page, yield* this.#nvmIdentity(), this.capabilities.minPageBytes);
    const granted = yield* this.#admin.execute(setQueueCount(MAX_QUEUE_PAIRS));
    const pairs = Math.min(granted & 0xffff, granted >>> 16) + 1;
    this.#queueLimit = Math.min(pairs, MAX_QUEUE_PAIRS, this.port.vectorCount - 1);
    this.#admin.post(setReportedEvents(HEALTH_WARNINGS), () => {});
    this.#awaitEvent();
  }

  /** Identify Controller of the NVM command set: NVMe 2.0, or null. */
  *#nvmIdentity(): Steps<Uint8Array | null> {
    try {
      return yield* this.identifyPage(C.NVME_IDENTIFY_CNS_CSI_CTRL.value);
    } catch (error) {
      if (error instanceof StorageError && error.kind === "io") return null;
      throw error;
    }
  }

  *#recover(): Steps<void> {
    let errno: number = Errno.EIO;
    try {
      if (this.status() === GONE) {
        errno = Errno.ENODEV;
        throw this.#unusable("it is gone");
      }
      yield* this.#stop();
      for (const queue of this.#queues.values()) queue.endInflight(Errno.EIO);
      yield* this.#bringUp();
      for (const queue of this.#queues.values()) yield* this.#createQueues(queue);
      this.#state = "running";
      for (const queue of this.#queues.values()) queue.resume();
    } catch {
      // Everything has failed already.
      if (this.wasGivenBack) return;
      // Whatever it was: without bus mastering the device cannot write to memory, and nothing will complete.
      this.port.setBusMaster(false);
      this.#state = "broken";
      for (const queue of this.#queues.values()) queue.fail(errno);
    }
  }

  *#createQueues({ pair, interrupt }: ControllerQueue): Steps<void> {
    const { qid, entries } = pair;
    this.#check(this.port.setVectors(qid, [interrupt.fd]), "set an interrupt of");
    yield* this.#admin.execute(createCompletionQueue(qid, entries, pair.cqIova, qid));
    yield* this.#admin.execute(createSubmissionQueue(qid, entries, pair.sqIova));
  }

  *#stop(): Steps<void> {
    if (!(yield* this.#switch.disable()) && !(yield* this.#functionReset())) throw this.#switch.late("stop");
  }

  /** A function level reset, for a controller that does not stop; true when it has then. */
  *#functionReset(): Steps<boolean> {
    if (this.port.reset() < 0) return false;
    // A reset function has lost its command register.
    this.#check(this.port.setBusMaster(true), "switch bus mastering on for");
    this.#setVectors();
    return yield* this.#switch.stopped();
  }

  /** One event request stays with the controller at all times. */
  #awaitEvent(): void {
    this.#admin.post(ASYNC_EVENT, (status, result) => {
      // Refused, or aborted by a reset that posts a new one.
      if (status !== 0) return;
      this.asyncEvents++;
      if (events.asyncEvent.hasSubscribers) events.asyncEvent.publish({ address: this.port.address, result });
      this.tasks.run(this.#clearEvent((result >>> 16) & 0xff)).catch(() => {});
    });
  }

  *#clearEvent(page: number): Steps<void> {
    if (this.#state !== "running") return;
    try {
      yield* this.logPage(page, EVENT_LOG_BYTES);
    } finally {
      if (this.#state === "running") this.#awaitEvent();
    }
  }

  #setVectors(): void {
    const count = Math.min(MAX_QUEUE_PAIRS + 1, this.port.vectorCount);
    const fds = new Array<number>(count).fill(-1);
    fds[0] = this.#adminInterrupt.fd;
    for (const [qid, queue] of this.#queues) fds[qid] = queue.interrupt.fd;
    this.#check(this.port.setVectors(0, fds), "set the interrupts of");
  }

  #check(result: number, op: string): void {
    if (result < 0) throw new StorageError({ kind: "open", op, target: this.port.address, errno: -result });
  }

  #unusable(detail: string): StorageError {
    return new StorageError({ kind: "unsupported", op: "use", target: this.port.address, detail });
  }
}
