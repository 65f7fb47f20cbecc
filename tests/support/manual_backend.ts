/**
 * A driver whose completions the test triggers by hand: slow devices, late answers, devices that never answer.
 *
 * @module
 */
import type { BlockLimits, TargetInfo } from "../../core/base/block.ts";
import type { Backend } from "../../core/device/backend.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { StorageError } from "../../core/base/errors.ts";
import { completeRequest } from "../../core/queue/completed_list.ts";
import { beginRequest, type IoRequest, Opcode } from "../../core/request/request.ts";
import { newQueueStats, type QueueStats } from "../../core/queue/stats.ts";
import { FakeMemorySource } from "./fake_memory.ts";

/** What a manual backend pretends to be. */
export interface ManualOptions {
  readonly alignment?: number;
  readonly readOnly?: boolean;
  readonly reachesAllMemory?: boolean;
  /** Pool of other devices of the same queue. Default: one of its own. */
  readonly bounce?: BouncePool;
}

/** A device in the test's hands. Requests stay in `active` until `complete`. */
export class ManualBackend implements Backend {
  readonly driver = "manual";
  readonly target = "manual-target";
  readonly info: TargetInfo;
  readonly limits: BlockLimits = { maxInflight: 64, maxTransferBytes: 1 << 30, maxIovecs: 8 };
  readonly stats: QueueStats = newQueueStats();
  readonly registrar = {};
  readonly memory: FakeMemorySource = new FakeMemorySource();
  readonly bounce: BouncePool;
  readonly notes: readonly string[] = [];
  readonly reachesAllMemory: boolean;
  broken = false;
  /** Requests that the "device" has, in order. */
  readonly active: IoRequest[] = [];
  /** Requests that were asked to end early. */
  readonly cancels: IoRequest[] = [];
  /** Everything that was enqueued after `close` had finished. */
  readonly afterClose: IoRequest[] = [];
  /** True once `close` gave everything back. */
  closed = false;
  #onIdle: (() => void) | null = null;

  /** What the device says of a failed request, beside its errno. */
  explanation: { readonly detail: string } | undefined = undefined;

  constructor({ alignment = 1, readOnly = false, reachesAllMemory = false, bounce }: ManualOptions = {}) {
    this.bounce = bounce ?? new BouncePool({ source: this.memory });
    this.reachesAllMemory = reachesAllMemory;
    this.info = {
      kind: "file",
      blockSize: alignment,
      alignment: { memory: alignment, offset: alignment },
      readOnly,
      direct: alignment > 1,
    };
  }

  size(): number {
    return 1 << 20;
  }

  resize(): void {}

  explain(): { readonly detail: string } | undefined {
    return this.explanation;
  }

  enqueue(request: IoRequest): void {
    beginRequest(request, this);
    this.stats.requests++;
    this.active.push(request);
    if (this.closed) this.afterClose.push(request);
  }

  cancel(request: IoRequest): void {
    request.cancelled = true;
    this.cancels.push(request);
  }

  register(): void {}

  unregister(): void {}

  run(): void {}

  poll(): number {
    return 0;
  }

  /** Completes the oldest request, or the given one; by default in full. `fill` is what a read finds. */
  complete(request: IoRequest = this.active[0]!, result = fullResult(request), fill = 0xab): void {
    this.active.splice(this.active.indexOf(request), 1);
    if (request.op === Opcode.read && result > 0 && request.region !== null) {
      const { region } = request;
      const start = (request.addressLow - region.addressLow) >>> 0;
      region.bytes.fill(fill, start, start + result);
    }
    request.result = result;
    this.stats.completions++;
    if (this.active.length === 0) this.#onIdle?.();
    completeRequest(request);
  }

  /** Completes everything there is, and what comes of it. */
  completeAll(): void {
    while (this.active.length > 0) this.complete();
  }

  async close(drainMs: number): Promise<void> {
    if (this.active.length > 0) {
      const drained = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), drainMs);
        this.#onIdle = () => {
          clearTimeout(timer);
          resolve(true);
        };
      });
      if (!drained) throw new StorageError({ kind: "undrained", op: "close", target: this.target });
    }
    this.closed = true;
  }
}

function fullResult(request: IoRequest): number {
  return request.op <= Opcode.write ? request.length : 0;
}
