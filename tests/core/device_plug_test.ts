/** The plug of old: a counter in each device, around any backend. */
import assert from "node:assert/strict";
import { BlockDevice } from "../../core/device/block_device.ts";
import { DevicePlug } from "../../core/device/device_plug.ts";
import { Errno } from "../../core/base/errno.ts";
import { InvariantError } from "../../core/base/invariant.ts";
import { plug, plugged, unplug } from "../../core/plug/plug.ts";
import { type IoRequest, RequestState } from "../../core/request/request.ts";
import { ManualBackend } from "../support/manual_backend.ts";

/** A device in mode `device` over a backend in the test's hands, with `count` requests. */
function rig(count: number) {
  const backend = new ManualBackend();
  const counter = new DevicePlug(backend);
  const device = new BlockDevice(counter);
  const results: number[] = [];
  const requests = device.allocate(count, 512).map((buffer, index) =>
    device.createRequest({
      op: "read",
      buffer,
      offset: index * 512,
      onComplete: (_request, result) => void results.push(result),
    })
  );
  return { backend, counter, device, requests, results };
}

function submitAll(device: BlockDevice, requests: readonly IoRequest[]): void {
  for (const request of requests) device.submit(request);
}

Deno.test("outside of any section, a device that is not plugged passes requests on at once", () => {
  const { backend, device, requests } = rig(2);
  device.submit(requests[0]!);
  assert.deepEqual(backend.active, [requests[0]]);
});

Deno.test("a plugged device keeps requests, in order, until its counter is back at 0", () => {
  const { backend, counter, device, requests } = rig(3);
  counter.plug();
  counter.plug();
  submitAll(device, requests);
  counter.unplug();
  assert.equal(backend.active.length, 0);
  counter.unplug();
  assert.deepEqual(backend.active, requests);
});

Deno.test("a device that is not plugged does not wait for another one that is", () => {
  const [plugged, other] = [rig(1), rig(1)];
  plugged.counter.plug();
  submitAll(plugged.device, plugged.requests);
  submitAll(other.device, other.requests);
  assert.equal(plugged.backend.active.length, 0);
  assert.equal(other.backend.active.length, 1);
  plugged.counter.unplug();
});

Deno.test("a section of the Worker plugs each device that is used in it, once", () => {
  const [left, right, unused] = [rig(2), rig(2), rig(1)];
  plugged(() => {
    submitAll(left.device, left.requests);
    plugged(() => submitAll(right.device, right.requests));
    assert.equal(left.backend.active.length + right.backend.active.length, 0);
  });
  assert.deepEqual([left.backend.active.length, right.backend.active.length], [2, 2]);
  assert.throws(() => unused.counter.unplug(), InvariantError);
  assert.throws(() => left.counter.unplug(), InvariantError);
});

Deno.test("a device plugged beyond the end of a section keeps its requests beyond it", () => {
  const { backend, counter, device, requests } = rig(1);
  plugged(() => {
    submitAll(device, requests);
    counter.plug();
  });
  assert.equal(backend.active.length, 0);
  counter.unplug();
  assert.equal(backend.active.length, 1);
});

Deno.test("unplugging a device that is not plugged is an InvariantError that names it, and changes nothing", () => {
  const { backend, counter, device, requests } = rig(1);
  assert.throws(() => counter.unplug(), /InvariantError: Cannot unplug manual-target: it is not plugged/);
  device.submit(requests[0]!);
  assert.equal(backend.active.length, 1);
});

Deno.test("a request that waits is active, and its memory cannot be released", () => {
  const { backend, counter, device } = rig(1);
  const buffers = device.allocate(1, 512);
  const request = device.createRequest({ op: "read", buffer: buffers[0]!, onComplete: () => {} });
  counter.plug();
  device.submit(request);
  assert.equal(request.state, RequestState.active);
  assert.throws(() => device.submit(request), InvariantError);
  assert.throws(() => device.release(buffers), InvariantError);
  counter.unplug();
  backend.completeAll();
  device.release(buffers);
});

Deno.test("cancelling a request that waits sends it, and the driver decides", () => {
  const { backend, counter, device, requests } = rig(2);
  counter.plug();
  submitAll(device, requests);
  device.cancel(requests[1]!);
  assert.deepEqual(backend.active, requests);
  assert.deepEqual(backend.cancels, [requests[1]]);
  counter.unplug();
});

Deno.test("run, poll and close send what waits, so that no caller waits for it in vain", async () => {
  for (const act of ["run", "poll", "close"] as const) {
    const { backend, counter, device, requests, results } = rig(2);
    counter.plug();
    submitAll(device, requests);
    const closed = act === "run" ? device.run(() => true) : device[act]();
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(backend.active.length, 2, act);
    backend.completeAll();
    await closed;
    assert.deepEqual(results, [512, 512], act);
  }
});

Deno.test("a callback that submits again in a pass adds to the flush of that pass", () => {
  const { backend, device, requests } = rig(1);
  let again = 1;
  requests[0]!.onComplete = (request) => {
    if (again-- > 0) device.submit(request);
  };
  device.submit(requests[0]!);
  plug();
  backend.complete();
  assert.equal(backend.active.length, 0);
  unplug();
  assert.equal(backend.active.length, 1);
});

Deno.test("what a device reaches and what it says of a failure come through the counter", async () => {
  for (const reachesAllMemory of [false, true]) {
    const backend = new ManualBackend({ reachesAllMemory });
    assert.equal(new BlockDevice(new DevicePlug(backend)).reachesAllMemory, reachesAllMemory);
  }
  const backend = new ManualBackend();
  backend.explanation = { detail: "the manual device is out of order" };
  const device = new BlockDevice(new DevicePlug(backend));
  const read = device.read(device.allocate(1, 512)[0]!, 0);
  await null;
  backend.complete(backend.active[0]!, -Errno.EIO);
  await assert.rejects(read, /the manual device is out of order/);
});
