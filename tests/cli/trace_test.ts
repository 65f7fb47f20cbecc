import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { traceLine } from "../../cli/load/trace.ts";
import { closeIdleQueues, openDevice, plugged, TRACE_PREFIX, traceEvents } from "../../mod.ts";

Deno.test("a section of reads is traced by QEMU's names, from the deferred call to the completions", async () => {
  const lines: string[] = [];
  const listeners = traceEvents().map((event) => {
    const listener = (message: unknown) => void lines.push(traceLine(0, event.slice(TRACE_PREFIX.length), message));
    subscribe(event, listener);
    return () => unsubscribe(event, listener);
  });
  await closeIdleQueues();
  try {
    const device = await openDevice(Deno.execPath(), { readOnly: true, batch: "plug" });
    const buffers = device.allocate(3, 4096);
    await Promise.all(
      plugged(() => ({ reads: buffers.map((buffer, index) => device.read(buffer, index * 4096)) })).reads,
    );
    await device.close();
    await closeIdleQueues();
  } finally {
    for (const stop of listeners) stop();
  }
  const names = lines.map((line) => line.split(" ")[1]);
  assert.deepEqual(names.slice(0, 4), [
    "luring_init_state",
    "luring_unplug_fn",
    "luring_do_submit",
    "luring_do_submit_done",
  ]);
  assert.equal(names.filter((name) => name === "luring_process_completion").length, 3);
  assert.equal(names.at(-1), "luring_cleanup_state");
  assert.ok(lines.includes("job0 luring_unplug_fn queued=3 waiting=0 inflight=3 blocked=false"));
  assert.ok(lines.some((line) => line.includes("op=0 offset=4096 length=4096 result=4096")));
});

Deno.test("nothing is traced without a subscriber, and a request costs no message", async () => {
  await using device = await openDevice(Deno.execPath(), { readOnly: true });
  await device.read(new Uint8Array(16), 0);
  let messages = 0;
  const listener = () => void messages++;
  const event = traceEvents().find((name) => name.endsWith("luring_process_completion"))!;
  subscribe(event, listener);
  await device.read(new Uint8Array(16), 0);
  unsubscribe(event, listener);
  await device.read(new Uint8Array(16), 0);
  assert.equal(messages, 1);
});
