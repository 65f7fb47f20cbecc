/** The device over other devices: what is below at once, what a request that was given up meets, and what may be stacked. */
import assert from "node:assert/strict";
import { Errno } from "../../core/base/errno.ts";
import type { Backend } from "../../core/device/backend.ts";
import { StackedDevice } from "../../core/device/stacked_device.ts";
import { IovecTable } from "../../core/request/iovec.ts";
import { IoRequest, Opcode } from "../../core/request/request.ts";
import { ManualBackend } from "../support/manual_backend.ts";

/** Asks every device below, and ends with the sum of the answers. */
class Sum extends StackedDevice {
  readonly driver = "sum";
  readonly answers: number[] = [];
  readonly below: readonly [Backend, ...Backend[]];

  constructor(below: readonly [Backend, ...Backend[]]) {
    super("sum:below", below);
    this.below = below;
  }

  size(): number {
    return 4096;
  }

  resize(): void {}

  protected start(request: IoRequest): void {
    this.answers.length = 0;
    for (const each of this.below) this.ask(request, each);
  }

  protected answered(request: IoRequest, _below: Backend, result: number): void {
    this.answers.push(result);
    if (this.answers.length === this.below.length) this.end(request);
  }

  end(request: IoRequest): void {
    this.complete(request, this.answers.reduce((sum, each) => sum + each, 0));
  }
}

function stack() {
  const legs = [new ManualBackend({ reachesAllMemory: true }), new ManualBackend({ reachesAllMemory: true })] as const;
  const results: number[] = [];
  const request = new IoRequest(Opcode.write, (_, result) => void results.push(result));
  request.length = 512;
  return { one: legs[0], two: legs[1], device: new Sum(legs), request, results };
}

/** Makes a request vectored. */
function vectored(request: IoRequest, { memory }: ManualBackend) {
  const [data, table] = [memory.allocate(512), memory.allocate(4096)];
  request.iovecs = new IovecTable([{ memory: data, byteOffset: 0, byteLength: 512 }], table, 0);
  return { data, table };
}

Deno.test("every device below gets a copy, and the request ends with what the driver makes of the answers", () => {
  const { one, two, device, request, results } = stack();
  Object.assign(request, { offset: 1024, flags: 1, registeredIndex: 3 });
  device.enqueue(request);
  const [first, second] = [one.active[0]!, two.active[0]!];
  for (const copy of [first, second]) assert.deepEqual([copy.offset, copy.length, copy.flags], [1024, 512, 1]);
  // Memory is registered with the queue of the first.
  assert.deepEqual([first.registeredIndex, second.registeredIndex], [3, -1]);
  two.complete(second, 2);
  assert.deepEqual([device.active, results], [1, []]);
  one.complete(first, 1);
  assert.deepEqual([device.active, results, device.stats.completions], [0, [3], 1]);
  // Copies are used again.
  device.enqueue(request);
  assert.ok([first, second].includes(one.active[0]!));
});

Deno.test("copies of a vectored request go down one after the other, for they share a table; the memory is held meanwhile", () => {
  const { one, two, device, request, results } = stack();
  const { data, table } = vectored(request, one);
  device.enqueue(request);
  assert.deepEqual([one.active.length, two.active.length], [1, 0]);
  one.complete();
  assert.deepEqual([one.active.length, two.active.length, results.length], [0, 1, 0]);
  assert.ok(data.holds > 0 && table.holds > 0);
  two.complete();
  assert.deepEqual([results, data.holds, table.holds], [[1024], 0, 0]);
});

Deno.test("a request that was given up is cancelled below, and what waits of it is not sent any more", () => {
  const { one, two, device, request, results } = stack();
  vectored(request, one);
  device.enqueue(request);
  device.cancel(request);
  assert.deepEqual(one.cancels, one.active);
  one.complete(one.active[0]!, -Errno.ECANCELED);
  assert.deepEqual([two.active.length, results], [0, [-2 * Errno.ECANCELED]]);
  device.cancel(request);
  assert.equal(one.cancels.length, 1, "a request that has ended");
});

Deno.test("a request that is completed twice is an InvariantError", () => {
  const { one, two, device, request } = stack();
  device.enqueue(request);
  one.complete();
  two.complete();
  assert.throws(() => device.end(request), { name: "InvariantError" });
});

Deno.test("devices that do not reach each other's memory are not stacked, and facts are those of all", () => {
  const legs = [new ManualBackend(), new ManualBackend()] as const;
  assert.throws(
    () => new Sum(legs),
    /^RangeError: Cannot put sum:below onto manual-target and manual-target: they share/,
  );
  const coarse = new ManualBackend({ alignment: 4096, readOnly: true, reachesAllMemory: true });
  const { info, reachesAllMemory } = new Sum([new ManualBackend({ alignment: 512 }), coarse]);
  assert.deepEqual([info.blockSize, info.alignment, info.readOnly], [4096, { memory: 4096, offset: 4096 }, true]);
  assert.equal(reachesAllMemory, false);
});
