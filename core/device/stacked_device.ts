import type { BlockLimits, TargetInfo } from "../base/block.ts";
import { Errno } from "../base/errno.ts";
import { invariant } from "../base/invariant.ts";
import type { MemorySource, OwnedMemory } from "../base/memory.ts";
import { completeRequest } from "../queue/completed_list.ts";
import { newQueueStats, type QueueStats } from "../queue/stats.ts";
import { copyRequest } from "../request/copy_request.ts";
import { beginRequest, IoRequest, Opcode, RequestState } from "../request/request.ts";
import type { Backend } from "./backend.ts";
import type { BouncePool } from "./bounce.ts";
import { quiesced } from "./quiesce.ts";

/** A copy of a request that a device below is asked. Made once, and used for one request after the other. */
class Copy {
  readonly asked: IoRequest;
  request: IoRequest | null = null;
  below: Backend | null = null;

  constructor(onAnswer: (copy: Copy, result: number) => void) {
    this.asked = new IoRequest(Opcode.nop, (_, result) => onAnswer(this, result));
  }
}

/**
 * A device over other devices, such as a mirror: what all of them have in common. A driver says with `start` which devices
 * below are asked for a request, and with `answered` what their answers mean; it ends each request with `complete`. What
 * is asked below is a copy, so that a request may be asked of several devices, or of one again.
 *
 * Memory, bounce buffers and registration are those of the first device, and the others have to reach that memory.
 */
export abstract class StackedDevice implements Backend {
  abstract readonly driver: string;
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats = newQueueStats();
  readonly registrar: unknown;
  readonly memory: MemorySource;
  readonly bounce: BouncePool;
  readonly reachesAllMemory: boolean;
  /** Requests whose completion is owed. */
  active = 0;
  /** Called when `active` is back to 0, while `close` waits for that. */
  onIdle: (() => void) | null = null;
  /** What `notes` says besides the notes of the devices below. */
  protected readonly noted: string[] = [];
  readonly #below: readonly Backend[];
  readonly #idle: Copy[] = [];
  readonly #asked = new Set<Copy>();
  /** Vectored copies whose request has another copy below: both would write its pieces to one table. */
  readonly #waiting: Copy[] = [];
  readonly #onAnswer = (copy: Copy, result: number) => this.#take(copy, result);

  /** Puts a device onto `below`, which it owns from now on. Throws RangeError where these share no memory. */
  constructor(target: string, below: readonly [Backend, ...Backend[]]) {
    const [first, ...others] = below;
    const foreign = others.find((each) => each.memory !== first.memory && each.reachesAllMemory !== true);
    if (foreign !== undefined) {
      throw new RangeError(`Cannot put ${target} onto ${first.target} and ${foreign.target}: they share no memory`);
    }
    this.target = target;
    this.#below = below;
    this.info = combinedInfo(below.map(({ info }) => info));
    this.limits = first.limits;
    this.registrar = first.registrar;
    this.memory = first.memory;
    this.bounce = first.bounce;
    this.reachesAllMemory = below.every((each) => each.reachesAllMemory === true);
  }

  /** Begins a request: asks devices below, or completes it. */
  protected abstract start(request: IoRequest): void;

  /** A device below has answered, with bytes or −errno: asks again, waits for others, or completes the request. */
  protected abstract answered(request: IoRequest, below: Backend, result: number): void;

  abstract size(): number;
  abstract resize(byteLength: number): void;

  get notes(): readonly string[] {
    return [...this.noted, ...this.#below.flatMap(({ notes }) => notes)];
  }

  get broken(): boolean {
    return this.#below.every(({ broken }) => broken);
  }

  register(memory: OwnedMemory): void {
    this.#below[0]!.register(memory);
  }

  unregister(memory: OwnedMemory): void {
    this.#below[0]!.unregister(memory);
  }

  enqueue(request: IoRequest): void {
    beginRequest(request, this);
    this.active++;
    this.stats.requests++;
    this.start(request);
  }

  cancel(request: IoRequest): void {
    if (request.state !== RequestState.active) return;
    request.cancelled = true;
    for (const { request: asker, asked, below } of this.#asked) if (asker === request) below!.cancel(asked);
  }

  run(done: () => boolean, minCompletions: number): void {
    let before: number;
    do {
      before = this.stats.completions;
      for (const below of this.#below) below.run(done, minCompletions);
      // A round that has completed nothing has met requests that never end.
    } while (!done() && this.active > 0 && this.stats.completions > before);
  }

  poll(): number {
    const before = this.stats.completions;
    for (const below of this.#below) below.poll();
    return this.stats.completions - before;
  }

  async close(drainMs: number): Promise<void> {
    if (this.active > 0) this.poll();
    const inTime = await quiesced(this, drainMs);
    const ends = await Promise.allSettled(this.#below.map((each) => each.close(inTime ? drainMs : 0)));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  /** Asks a device below what `request` asks of this one. */
  protected ask(request: IoRequest, below: Backend): void {
    const copy = this.#idle.pop() ?? new Copy(this.#onAnswer);
    copy.request = request;
    copy.below = below;
    if (request.iovecs !== null && this.#isAsked(request)) this.#waiting.push(copy);
    else this.#send(copy);
  }

  /** Ends a request, of which no copy is below any more, with bytes or −errno. */
  protected complete(request: IoRequest, result: number): void {
    invariant(request.state === RequestState.active, "Cannot complete a request twice: wanted one that is active");
    request.result = result;
    this.stats.completions++;
    if (result < 0) this.stats.errors++;
    if (--this.active === 0 && this.onIdle !== null) this.onIdle();
    completeRequest(request);
  }

  #send(copy: Copy): void {
    const { asked, below } = copy;
    copyRequest(copy.request!, asked);
    if (below!.registrar !== this.registrar) asked.registeredIndex = -1;
    this.#asked.add(copy);
    below!.enqueue(asked);
  }

  #take(copy: Copy, result: number): void {
    const request = copy.request!;
    const below = copy.below!;
    copy.request = null;
    copy.below = null;
    this.#asked.delete(copy);
    this.#idle.push(copy);
    const at = this.#waiting.findIndex((copy) => copy.request === request);
    const next = at < 0 ? null : this.#waiting.splice(at, 1)[0]!;
    if (next !== null && !request.cancelled) this.#send(next);
    this.answered(request, below, result);
    if (next !== null && request.cancelled) this.#take(next, -Errno.ECANCELED);
  }

  #isAsked(request: IoRequest): boolean {
    for (const copy of this.#asked) if (copy.request === request) return true;
    return false;
  }
}

/** What holds for a request that may go to any of several devices. */
function combinedInfo(infos: readonly TargetInfo[]): TargetInfo {
  const most = (of: (info: TargetInfo) => number) => Math.max(...infos.map(of));
  return {
    ...infos[0]!,
    blockSize: most(({ blockSize }) => blockSize),
    alignment: {
      memory: most(({ alignment }) => alignment.memory),
      offset: most(({ alignment }) => alignment.offset),
    },
    readOnly: infos.some(({ readOnly }) => readOnly),
    direct: infos.every(({ direct }) => direct),
    singleOwner: infos.some(({ singleOwner }) => singleOwner === true),
  };
}
