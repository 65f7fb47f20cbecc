import { Errno } from "../../core/base/errno.ts";
import { isUnknownOperation } from "../../core/request/range_fallback.ts";
import { Opcode, OPCODE_NAMES } from "../../core/request/request.ts";
import { BlockTransfers } from "./block_transfers.ts";
import { noDiscards, noZeroes } from "./disk_facts.ts";
import type { DiskRequest, RequestOwner } from "./disk_request.ts";
import type { DiskUnit } from "./disk_unit.ts";
import { errorResult } from "./error_result.ts";
import { MergeBuffer } from "./merge.ts";
import { goesStraight, type Run } from "./run.ts";
import type { RunPool } from "./run_pool.ts";

/**
 * Executes the requests of one queue on one unit: joins neighbours, points the driver at the guest's memory, copies what
 * it cannot reach, and does each request of a joined run that fails once more, alone. Requests are checked already:
 * whole blocks of the guest within the disk, and no writes where it is read-only.
 */
export class UnitExecutor<Request extends DiskRequest> {
  /** The unit. */
  readonly unit: DiskUnit;
  /** Something was started in the running pass of the queue. Its owner's to set. */
  touched = false;
  readonly #runs: RunPool<Request>;
  readonly #owner: RequestOwner<Request>;
  readonly #merge: MergeBuffer<Request>;
  readonly #transfers: BlockTransfers<Request>;
  readonly #runDone = (run: Run<Request>, result: number) => this.#finishRun(run, result);

  /** Executes on `unit` with runs of `runs`; `owner` is told of each request once, also from inside of `start`. */
  constructor(unit: DiskUnit, runs: RunPool<Request>, owner: RequestOwner<Request>) {
    this.unit = unit;
    this.#runs = runs;
    this.#owner = owner;
    this.#merge = new MergeBuffer(unit.mergeLimits, (requests, start, count) => this.#startRun(requests, start, count));
    this.#transfers = new BlockTransfers(unit, { completed: (request, result) => this.#end(request, result) });
  }

  /** True when the last two reads or writes were neighbours on the disk: the next may well be one, too. */
  get growing(): boolean {
    return this.#merge.growing;
  }

  /** Starts a request. A read or a write may be kept for its neighbours, until `startCollected` at the latest. */
  start(request: Request): void {
    this.unit.inFlight++;
    if (request.op <= Opcode.write) this.#merge.add(request);
    else this.#startOther(request);
  }

  /** Starts the reads or writes that were kept for their neighbours. */
  startCollected(): void {
    this.#merge.flush();
  }

  #startOther(request: Request): void {
    if (request.op !== Opcode.flush) {
      this.#merge.flush();
      return this.#startRange(request);
    }
    // Only completed writes have to be durable; those taken before would do no harm, but QEMU sends them first.
    if (this.#merge.holdsWrites) this.#merge.flush();
    this.#startAlone(request);
  }

  #startRun(requests: readonly Request[], start: number, count: number): void {
    const { device, stats } = this.unit;
    for (let index = start; index < start + count; index++) {
      const { offset, data } = requests[index]!;
      if (goesStraight(device, offset, data)) continue;
      return this.#startTransfers(requests, start, count);
    }
    if (this.#startStraight(requests, start, count)) stats.runs++;
  }

  /** Discards or zeroes: by the device where the range is whole blocks and it knows how. */
  #startRange(request: Request): void {
    const { device, facts } = this.unit;
    const known = request.op === Opcode.discard ? facts.discards : facts.zeroes;
    const whole = ((request.offset | request.length) & (device.alignment.offset - 1)) === 0;
    if (known && whole) this.#startAlone(request);
    else this.#startTransfers([request], 0, 1);
  }

  #startAlone(request: Request): void {
    this.#startStraight([request], 0, 1);
  }

  /** Starts requests whose way to the driver is straight, and returns whether it was. */
  #startStraight(requests: readonly Request[], start: number, count: number): boolean {
    const { op, offset } = requests[start]!;
    const run = this.#runs.take();
    if (run === null) {
      for (let each = start; each < start + count; each++) this.#end(requests[each]!, -Errno.ENOMEM);
      return false;
    }
    run.fill(requests, start, count, this.#runDone);
    const { locks } = this.unit.facts;
    if (locks !== null && (op === Opcode.write || op === Opcode.writeZeroes)) {
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
  #startTransfers(requests: readonly Request[], start: number, count: number): void {
    for (let index = start; index < start + count; index++) {
      const request = requests[index]!;
      if (request.op <= Opcode.write) this.unit.stats.copied++;
      this.#transfers.start(request);
    }
  }

  #submit(run: Run<Request>): void {
    try {
      this.unit.device.submit(run.io);
    } catch (error) {
      // The disk is closed or refuses the range: the guest is told, and nothing else can be done for it.
      this.#finishRun(run, errorResult(error));
    }
  }

  #finishRun(run: Run<Request>, result: number): void {
    if (result < 0) return this.#failRun(run, result);
    if (run.advance()) return this.#submit(run);
    if (run.lockedBytes > 0) this.#unlock(run);
    const { count, requests } = run;
    this.#runs.give(run);
    this.unit.inFlight -= count;
    for (let index = 0; index < count; index++) this.#owner.completed(requests[index]!, 0);
  }

  #failRun(run: Run<Request>, result: number): void {
    const { count, requests } = run;
    if (run.lockedBytes > 0) this.#unlock(run);
    const failed = requests.slice(0, count);
    this.#runs.give(run);
    if (count === 1) return this.#failAlone(failed[0]!, result);
    // Only what is really bad may fail: each request once more, alone.
    for (const request of failed) this.#startAlone(request);
  }

  #unlock(run: Run<Request>): void {
    this.unit.facts.locks!.release(run.requests[0]!.offset, run.lockedBytes, false);
    run.lockedBytes = 0;
  }

  /** A request that went to the driver by itself has failed: a range that the device does not know may be covered. */
  #failAlone(request: Request, result: number): void {
    const { facts } = this.unit;
    if (facts.coversUnknown && isUnknownOperation(-result)) {
      if (request.op === Opcode.discard) {
        noDiscards(facts);
        return this.#end(request, 0);
      }
      if (request.op === Opcode.writeZeroes) {
        noZeroes(facts);
        return this.#startTransfers([request], 0, 1);
      }
    }
    this.#end(request, result);
  }

  /** Ends a request, and tells of one that has failed. */
  #end(request: Request, result: number): void {
    if (result !== 0) {
      const { op, offset, length } = request;
      this.unit.errors.failed(OPCODE_NAMES[op]!, offset, length, -result);
    }
    this.unit.inFlight--;
    this.#owner.completed(request, result);
  }
}
