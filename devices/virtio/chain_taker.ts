import type { GuestMemory } from "../guest_memory/mod.ts";
import { DescriptorChain } from "./chain.ts";
import { NO_HEAD, type SplitQueue } from "./split_queue.ts";

/** What is kept of a request from the taking of its chain to its answer. */
export interface ChainRequest {
  /** Head of the chain. */
  head: number;
  /** True from taking to answering. */
  active: boolean;
  /** Memory that the request points into, held while it is active. */
  memory: GuestMemory | null;
}

/** Takes chains from a split queue and answers them, with one request for each head, reused. */
export class ChainTaker<Request extends ChainRequest> {
  /** Buffers of the request that was taken last. */
  readonly chain: DescriptorChain = new DescriptorChain();
  readonly #queue: SplitQueue;
  readonly #make: () => Request;
  readonly #requests: (Request | undefined)[];

  /** Takes from `queue`; `make` makes a request for a head that comes for the first time. */
  constructor(queue: SplitQueue, make: () => Request) {
    this.#queue = queue;
    this.#make = make;
    this.#requests = new Array<Request | undefined>(queue.size).fill(undefined);
  }

  /**
   * The next request, its buffers in `chain`; it holds their memory until it is answered. Null where there is none, or where
   * the driver broke a rule.
   */
  take(): Request | null {
    const queue = this.#queue;
    const head = queue.pop();
    if (head === NO_HEAD) return null;
    const request = this.#requests[head] ??= this.#make();
    if (request.active) return this.#break("it offers a descriptor that is in use", head);
    const { memory } = queue;
    const failure = this.chain.walk(queue.views, head, memory, queue.indirect);
    if (failure !== null) return this.#break(failure, head);
    request.head = head;
    request.active = true;
    request.memory = memory;
    memory.acquire();
    return request;
  }

  /** Answers a request, of which `byteLength` bytes were written to its buffers. */
  answer(request: Request, byteLength: number): void {
    this.#queue.push(request.head, byteLength);
    request.memory!.release();
    request.memory = null;
    request.active = false;
  }

  /** A request that was taken has no place for an answer: the driver broke the protocol, and nothing is taken any more. */
  refuse(request: Request, reason: string): void {
    this.#break(reason, request.head);
    request.memory!.release();
    request.memory = null;
    request.active = false;
  }

  #break(reason: string, head: number): null {
    this.#queue.broken = `${reason} (head ${head})`;
    return null;
  }
}
