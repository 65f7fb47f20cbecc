/** Abort signals that many requests share: one listener for each device, gone with the last request. */
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { MemoryDisk } from "../../drivers/testing.ts";
import { BlockDevice, openDevice, StorageError } from "../../mod.ts";
import { ManualBackend } from "../support/manual_backend.ts";

/** Counts what is done to signals while it is open. */
class ListenerCount implements Disposable {
  added = 0;
  removed = 0;
  readonly #add = AbortSignal.prototype.addEventListener;
  readonly #remove = AbortSignal.prototype.removeEventListener;

  constructor() {
    const { prototype } = AbortSignal;
    // deno-lint-ignore no-this-alias
    const count = this;
    prototype.addEventListener = function (...args: Parameters<typeof count.call>) {
      count.added++;
      return count.#add.apply(this, args as never);
    };
    prototype.removeEventListener = function (...args: Parameters<typeof count.call>) {
      count.removed++;
      return count.#remove.apply(this, args as never);
    };
  }

  call(..._args: unknown[]): void {}

  [Symbol.dispose](): void {
    AbortSignal.prototype.addEventListener = this.#add;
    AbortSignal.prototype.removeEventListener = this.#remove;
  }
}

/** Listeners of a signal. */
function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, "abort").length;
}

Deno.test("20,000 reads with one signal have one listener, which goes with the last of them", async () => {
  await using device = await openDevice("memory:1MiB");
  const { signal } = new AbortController();
  using count = new ListenerCount();
  const [buffer] = device.allocate(1, 512);
  const reads = Array.from({ length: 20_000 }, () => device.read(buffer!, 0, { signal }));
  assert.deepEqual([count.added, count.removed], [1, 0]);
  await Promise.all(reads);
  assert.deepEqual([count.added, count.removed], [1, 1]);
  await device.read(buffer!, 0, { signal });
  assert.deepEqual([count.added, count.removed], [2, 2]);
});

for (const order of ["as they came", "the last ones first"]) {
  Deno.test(`thousands of requests end by one signal, or by one each, ${order}`, async () => {
    const disk = new MemoryDisk("1MiB", { faults: [{ kind: "lost" }] });
    const device = await openDevice("memory:lost", { memory: disk, queueDepth: 8 });
    const foreign = Array.from({ length: 100 }, () => new Uint8Array(512));
    const shared = new AbortController();
    const reads: Promise<number>[] = [];
    for (let index = 0; index < 10_000; index++) {
      reads.push(device.read(foreign[index % 100]!, 0, { signal: shared.signal }));
    }
    const outcomes = Promise.allSettled(reads);
    const own = Array.from({ length: 2_000 }, () => new AbortController());
    const singles = Promise.allSettled(own.map(({ signal }) => device.nop({ signal })));
    const reason = new Error("enough");
    using count = new ListenerCount();
    shared.abort(reason);
    for (const controller of order === "as they came" ? own : own.reverse()) controller.abort(reason);
    for (const outcome of [...await outcomes, ...await singles]) {
      assert.ok(outcome.status === "rejected" && outcome.reason instanceof StorageError);
      assert.deepEqual([outcome.reason.kind, outcome.reason.cause], ["aborted", reason]);
    }
    assert.ok(count.removed <= 2_001, `${count.removed} removals`);
    await assert.rejects(device.close({ drainMs: 1 }), { kind: "undrained" });
  });
}

Deno.test("a signal that two devices share ends the requests of both, and has a listener of each", async () => {
  const backends = [new ManualBackend(), new ManualBackend()];
  const devices = backends.map((backend) => new BlockDevice(backend));
  const controller = new AbortController();
  const { signal } = controller;
  const calls = devices.flatMap((device) => [device.flush({ signal }), device.nop({ signal }), device.flush()]);
  assert.equal(listeners(signal), 2);
  backends[0]!.complete();
  assert.equal(await calls[0], undefined);
  assert.equal(listeners(signal), 2);
  const settled = Promise.allSettled(calls);
  controller.abort();
  assert.equal(listeners(signal), 0);
  assert.deepEqual(backends.map(({ cancels }) => cancels.length), [1, 2]);
  for (const backend of backends) backend.completeAll();
  const kinds = (await settled).map((outcome) => outcome.status === "rejected" ? outcome.reason.kind : "done");
  assert.deepEqual(kinds, ["done", "aborted", "done", "aborted", "aborted", "done"]);
  for (const device of devices) await device.close();
});

Deno.test("what AbortSignal.any and AbortSignal.timeout make ends requests, and is let go of", async () => {
  const backend = new ManualBackend();
  const device = new BlockDevice(backend);
  const controller = new AbortController();
  const any = AbortSignal.any([controller.signal, new AbortController().signal]);
  const late = AbortSignal.timeout(5);
  const calls = [device.flush({ signal: any }), device.flush({ signal: late }), device.flush({ signal: any })];
  const settled = Promise.allSettled(calls);
  await calls[1]!.catch((error) => assert.equal(error.cause.name, "TimeoutError"));
  controller.abort("over");
  for (const outcome of await settled) assert.equal((outcome as PromiseRejectedResult).reason.kind, "aborted");
  assert.deepEqual([listeners(any), listeners(late)], [0, 0]);
  backend.completeAll();
  await device.close();
});

Deno.test("a request that begins in a listener of its signal is refused as aborted, and one of another signal goes on", async () => {
  const backend = new ManualBackend();
  const device = new BlockDevice(backend);
  const controller = new AbortController();
  const { signal } = controller;
  const other = new AbortController().signal;
  const inside: Promise<void>[] = [];
  const first = device.flush({ signal });
  const chained = first.catch(() => device.flush({ signal }));
  signal.addEventListener("abort", () => inside.push(device.flush({ signal }), device.flush({ signal: other })));
  controller.abort();
  await assert.rejects(chained, { kind: "aborted" });
  await assert.rejects(inside[0]!, { kind: "aborted" });
  backend.completeAll();
  await inside[1];
  assert.deepEqual([listeners(signal), listeners(other)], [1, 0]);
  await device.close();
});

Deno.test("a driver that cannot cancel one request keeps no other from ending", async () => {
  const backend = new ManualBackend();
  const device = new BlockDevice(backend);
  const controller = new AbortController();
  const calls = [1, 2, 3].map(() => device.flush({ signal: controller.signal }));
  const settled = Promise.allSettled(calls);
  const errors: unknown[] = [];
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  globalThis.addEventListener("error", onError);
  backend.cancel = () => {
    throw new Error("no cancel");
  };
  controller.abort();
  globalThis.removeEventListener("error", onError);
  assert.equal(errors.length, 3);
  for (const outcome of await settled) assert.equal((outcome as PromiseRejectedResult).reason.kind, "aborted");
  backend.completeAll();
  await device.close();
});

Deno.test("2,000 requests with time-outs end by them, or leave no timer behind", async () => {
  const device = await openDevice("memory:1MiB");
  const foreign = new Uint8Array(512);
  await Promise.all(Array.from({ length: 2_000 }, () => device.read(foreign, 0, { timeoutMs: 60_000 })));
  const disk = new MemoryDisk("1MiB", { faults: [{ kind: "lost" }] });
  const hanging = await openDevice("memory:lost", { memory: disk, queueDepth: 8 });
  const late = await Promise.allSettled(Array.from({ length: 2_000 }, () => hanging.nop({ timeoutMs: 20 })));
  for (const outcome of late) assert.equal((outcome as PromiseRejectedResult).reason.kind, "timeout");
  await assert.rejects(hanging.close({ drainMs: 1 }), { kind: "undrained" });
  await device.close();
});
