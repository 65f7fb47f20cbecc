import { TWO_32 } from "../../core/base/sizes.ts";
import { StorageError } from "../../core/base/errors.ts";
import { type ControllerPort, NVME_CONSTANTS as C } from "../../ffi/vfio_nvme/mod.ts";
import { type AdminCommand, writeAdminCommand } from "./commands.ts";
import type { DmaMemory, DmaSource } from "./dma.ts";
import { QueuePair } from "./queue_pair.ts";
import { GONE, isFatal, PAGE_BYTES } from "./registers.ts";
import { ADMIN_ENTRIES } from "./sizes.ts";
import { NvmeStatusError, statusErrno } from "./status.ts";
import type { Steps } from "./task.ts";

/** What an admin command came back with: status (0 for success), and the first word of the result. */
type OnAdminResult = (status: number, result: number) => void;

/** The admin queue: commands by identifier, answers by callback. Polled; the caller that waits for an answer asks for it. */
export class AdminQueue {
  /** One page that identify and log commands write to. */
  readonly page: DmaMemory;
  readonly #port: ControllerPort;
  readonly #pair: QueuePair;
  readonly #timeoutMs: number;
  readonly #pending: (OnAdminResult | null)[] = new Array<OnAdminResult | null>(ADMIN_ENTRIES - 1).fill(null);
  readonly #onCompletion = (cid: number, status: number, result: number) => {
    const answer = this.#pending[cid] ?? null;
    // An identifier that was never given out is no reason to stop: what waits runs into its time-out.
    if (answer === null) return;
    this.#pending[cid] = null;
    answer(status, result);
  };

  /** Takes memory; a command is given up after `timeoutMs`. */
  constructor(port: ControllerPort, dma: DmaSource, options: { strideBytes: number; timeoutMs: number }) {
    this.#port = port;
    this.#timeoutMs = options.timeoutMs;
    using stack = new DisposableStack();
    const pair = { qid: 0, entries: ADMIN_ENTRIES, strideBytes: options.strideBytes };
    this.#pair = stack.adopt(new QueuePair(port, dma, pair), (each) => each.dispose());
    this.page = dma.allocate(PAGE_BYTES, PAGE_BYTES);
    stack.move();
  }

  /** Stores to the admin queue's doorbells. */
  get doorbells(): number {
    return this.#pair.doorbells;
  }

  /** Tells a controller that is not enabled where the queues are; they are empty again. */
  configure(): void {
    this.#pair.reset();
    this.#pending.fill(null);
    const size = ADMIN_ENTRIES - 1;
    this.#port.store(C.NVME_REG_AQA.value, size | (size << 16));
    this.#storeAddress(C.NVME_REG_ASQ.value, this.#pair.sqIova);
    this.#storeAddress(C.NVME_REG_ACQ.value, this.#pair.cqIova);
  }

  /** Sends a command without waiting; false when too many are under way. */
  post(command: AdminCommand, onResult: OnAdminResult): boolean {
    const cid = this.#pending.indexOf(null);
    if (cid < 0) return false;
    this.#pending[cid] = onResult;
    writeAdminCommand(this.#pair.sq, this.#pair.push(), cid, command);
    this.#pair.kick();
    return true;
  }

  /** Takes the answers that are there. */
  poll(): void {
    this.#pair.collect(this.#onCompletion);
  }

  /**
   * Sends a command and waits for it. Returns the first word of the result. Throws StorageError: `io` with the status
   * as its cause, `timeout`, or `broken` when the controller is gone or met a fatal error.
   */
  *execute(command: AdminCommand): Steps<number> {
    let answer: { readonly status: number; readonly result: number } | null = null;
    const onResult: OnAdminResult = (status, result) => answer = { status, result };
    const startMs = performance.now();
    while (!this.post(command, onResult)) {
      this.#assertAlive(command, startMs);
      yield;
      this.poll();
    }
    for (;;) {
      this.poll();
      // The callback wrote it; the checker does not see that.
      const { status, result } = answer ?? { status: -1, result: 0 };
      if (status === 0) return result;
      if (status > 0) {
        throw this.#error("io", command, { errno: statusErrno(status), cause: new NvmeStatusError(status) });
      }
      this.#assertAlive(command, startMs);
      yield;
    }
  }

  /** Gives the memory back; the controller must be disabled. */
  dispose(): void {
    this.#pair.dispose();
    this.page[Symbol.dispose]();
  }

  #assertAlive(command: AdminCommand, startMs: number): void {
    const csts = this.#port.load(C.NVME_REG_CSTS.value);
    if (csts === GONE) throw this.#error("broken", command, { detail: "the controller is gone" });
    if (isFatal(csts)) throw this.#error("broken", command, { detail: "the controller met a fatal error (CSTS.CFS)" });
    if (performance.now() - startMs < this.#timeoutMs) return;
    throw this.#error("timeout", command, { detail: `no completion within ${this.#timeoutMs} ms` });
  }

  #error(
    kind: "io" | "broken" | "timeout",
    { name }: AdminCommand,
    more: { readonly errno?: number; readonly detail?: string; readonly cause?: NvmeStatusError },
  ): StorageError {
    const { errno, cause, detail = cause?.message } = more;
    return new StorageError({ kind, op: `${name} on`, target: this.#port.address, errno, detail, cause });
  }

  #storeAddress(register: number, iova: number): void {
    this.#port.store(register, iova % TWO_32);
    this.#port.store(register + 4, Math.floor(iova / TWO_32));
  }
}
