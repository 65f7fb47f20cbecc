/** A bounded pool of buffers: turns, giving up, leases that are forgotten. */
import assert from "node:assert/strict";
import { BufferPool, openDevice } from "../../mod.ts";

const disk = () => openDevice("memory:1MiB");

Deno.test("callers that find the pool empty are served in order, as buffers come back", async () => {
  await using device = await disk();
  using pool = new BufferPool(device, { count: 2, byteLength: 512 });
  const [first, second] = [await pool.take(), await pool.take()];
  const order: number[] = [];
  const waiting = [1, 2, 3].map((number) => pool.take().then((lease) => (order.push(number), lease)));
  assert.deepEqual([pool.available, pool.waiting, pool.tryTake()], [0, 3, null]);
  second.release();
  second.release();
  (await waiting[0]!).release();
  first.release();
  for (const lease of await Promise.all(waiting.slice(1))) lease.release();
  assert.deepEqual(order, [1, 2, 3]);
  assert.deepEqual([pool.available, pool.waiting, pool.leases.length], [2, 0, 0]);
});

Deno.test("buffers of a pool are aligned, apart, and work with every device of the Worker", async () => {
  await using device = await openDevice("memory:1MiB", { direct: true });
  await using other = await disk();
  using pool = new BufferPool(device, { count: 3 });
  const leases = [pool.tryTake()!, pool.tryTake()!, pool.tryTake()!];
  assert.equal(new Set(leases.map(({ buffer }) => buffer.byteOffset)).size, 3);
  leases[0]!.buffer.fill(7);
  await device.write(leases[0]!.buffer, 4096);
  await other.write(leases[0]!.buffer, 0);
  await other.read(leases[1]!.buffer, 0);
  assert.ok(leases[1]!.buffer.every((byte) => byte === 7));
  assert.equal(other.stats.bounced, 0);
  for (const lease of leases) lease.release();
});

Deno.test("a wait for a buffer ends with a signal, a time-out or the pool, and takes no turn from others", async () => {
  await using device = await disk();
  const pool = new BufferPool(device, { count: 1 });
  const held = await pool.take();
  const controller = new AbortController();
  const aborted = pool.take({ signal: controller.signal });
  const late = pool.take({ timeoutMs: 1 });
  const patient = pool.take();
  controller.abort("enough");
  await assert.rejects(aborted, { name: "StorageError", kind: "aborted", cause: "enough" });
  await assert.rejects(late, { name: "StorageError", kind: "timeout" });
  await assert.rejects(pool.take({ signal: AbortSignal.abort() }), { kind: "aborted" });
  held.release();
  const lease = await patient;
  const last = pool.take();
  assert.throws(
    () => pool.dispose(),
    /^InvariantError: Cannot free a buffer pool with 1 leases: wanted each of them back/,
  );
  await assert.rejects(last, { kind: "closed" });
  await assert.rejects(pool.take(), { kind: "closed" });
  assert.equal(pool.tryTake(), null);
  lease.release();
  assert.throws(() => lease.buffer, /Cannot use a lease that has gone back/);
});

Deno.test("with debug, a lease that is never returned is reported with the place where it was taken", async () => {
  await using device = await disk();
  const pool = new BufferPool(device, { count: 2, debug: true });
  const forgotten = await pool.take();
  assert.match(forgotten.takenAt, /buffer_pool_test\.ts/);
  assert.deepEqual(pool.leases.map(({ takenAt }) => takenAt), [forgotten.takenAt]);
  assert.throws(
    () => pool.dispose(),
    /1 leases, taken at .*buffer_pool_test\.ts:\d+:\d+.*: wanted each of them back first$/,
  );
});

Deno.test("options of a pool are checked before anything is allocated", async () => {
  await using device = await disk();
  const make = (options: unknown) => () => new BufferPool(device, options as never);
  assert.throws(make({ size: 3 }), /^TypeError: Cannot make a buffer pool with option size: it is unknown/);
  assert.throws(make({ count: 0 }), /^RangeError: Cannot make a buffer pool with count 0: wanted an integer from 1/);
  assert.throws(make({ byteLength: "8" }), /^TypeError: Cannot make a buffer pool with byteLength/);
  assert.throws(make(null), /^TypeError/);
  assert.throws(() => new BufferPool(null as never), /^TypeError: Cannot make a buffer pool of null: wanted a device/);
  await assert.rejects(new BufferPool(device).take({ timeout: 5 } as never), /did you mean timeoutMs\?/);
});

Deno.test("a pool ends quietly after its device", async () => {
  const device = await disk();
  const pool = new BufferPool(device);
  await device.close();
  pool.dispose();
});
