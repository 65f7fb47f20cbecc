/** The adaptive plug of xen-block: which requests are submitted together. */
import assert from "node:assert/strict";
import { plug, plugCall, plugDepth, unplug } from "../../../core/plug/plug.ts";
import { AdaptivePlug } from "../../../devices/xen_block/mod.ts";

/** Takes requests as a ring would give them, and records what each submit carries. */
class Disk {
  readonly submits: number[][] = [];
  #queued: number[] = [];

  static #submit(disk: Disk): void {
    disk.submits.push(disk.#queued);
    disk.#queued = [];
  }

  start(request: number): void {
    this.#queued.push(request);
    plugCall(Disk.#submit, this);
  }

  /** One pass over `count` requests; those of `malformed` are answered without the disk. */
  pass(adaptive: AdaptivePlug, inFlight: number, count: number, malformed: readonly number[] = []): number[][] {
    const first = this.submits.length;
    adaptive.begin(inFlight);
    for (let request = 1; request <= count; request++) {
      if (malformed.includes(request)) continue;
      adaptive.before();
      this.start(request);
      adaptive.after();
    }
    adaptive.end();
    return this.submits.slice(first);
  }
}

/** In flight at entry, requests in the ring, the batches. */
const CASES: readonly (readonly [number, number, number[][]])[] = [
  [0, 3, [[1], [2], [3]]],
  [1, 3, [[1], [2], [3]]],
  [2, 7, [[1, 2], [3], [4, 5], [6], [7]]],
  [3, 10, [[1, 2, 3], [4], [5, 6, 7], [8], [9, 10]]],
  [4, 4, [[1, 2, 3, 4]]],
  [2, 0, []],
];

for (const [inFlight, count, batches] of CASES) {
  Deno.test(`with ${inFlight} in flight, ${count} requests go out as ${JSON.stringify(batches)}`, () => {
    assert.deepEqual(new Disk().pass(new AdaptivePlug(), inFlight, count), batches);
    assert.equal(plugDepth(), 0);
  });
}

Deno.test("a request that is answered without the disk does not count in its batch", () => {
  assert.deepEqual(new Disk().pass(new AdaptivePlug(), 2, 5, [2]), [[1, 3], [4], [5]]);
});

Deno.test("a pass takes nothing over from the one before", () => {
  const [disk, adaptive] = [new Disk(), new AdaptivePlug()];
  assert.deepEqual(disk.pass(adaptive, 2, 1), [[1]]);
  assert.deepEqual(disk.pass(adaptive, 2, 3), [[1, 2], [3]]);
  assert.deepEqual(disk.pass(adaptive, 0, 2), [[1], [2]]);
});

Deno.test("inside a section of the caller all batches are submitted at its end", () => {
  const disk = new Disk();
  plug();
  assert.deepEqual(disk.pass(new AdaptivePlug(), 2, 4), []);
  unplug();
  assert.deepEqual(disk.submits, [[1, 2, 3, 4]]);
});

Deno.test("a submit that throws in the middle of a pass leaves no section open", () => {
  const adaptive = new AdaptivePlug();
  const broken = () => {
    throw new Error("Broken ring");
  };
  adaptive.begin(2);
  adaptive.after();
  adaptive.after();
  plugCall(broken, null);
  assert.throws(() => adaptive.before(), /Broken ring/);
  assert.equal(plugDepth(), 0);
  adaptive.end();
  assert.equal(plugDepth(), 0);
});
