/** What an open device does to the life of its process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openDevice } from "../../../mod.ts";
import { type ChildOptions, type ChildResult, runChild } from "../../support/child.ts";
import "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { TempDir } from "../../support/temp_file.ts";

const CHILD = new URL("../children/scenario.ts", import.meta.url);
const FILE_BYTES = 8 << 20;

/** Runs one scenario on a file of its own. */
async function scenario(name: string, options: ChildOptions = {}): Promise<ChildResult> {
  using dir = new TempDir();
  return await runChild(CHILD, { ...options, args: [name, dir.file("data.bin", FILE_BYTES)] });
}

/** Fails unless the child ended by itself, without a word of complaint. */
function assertEnded({ hung, code, signal, stderr }: ChildResult): void {
  assert.deepEqual({ hung, code, signal, stderr }, { hung: false, code: 0, signal: null, stderr: "" });
}

for (const name of ["idle", "idleSocketpair"]) {
  Deno.test(`an open device without I/O does not hold the process open (${name})`, async () => {
    const result = await scenario(name);
    assertEnded(result);
    assert.equal(result.stdout.trim(), `end of ${name}`);
  });
}

for (const name of ["inFlightHolds", "inFlightHoldsSocketpair"]) {
  Deno.test(`I/O in flight holds the process open until it is delivered (${name})`, async () => {
    const result = await scenario(name);
    assertEnded(result);
    assert.equal(result.stdout.trim(), `end of ${name}\nall came back`);
  });
}

Deno.test("a process may exit with I/O in flight", async () => {
  const { hung, code, signal, stderr } = await scenario("exitInFlight");
  assert.deepEqual({ hung, code, signal, stderr }, { hung: false, code: 7, signal: null, stderr: "" });
});

Deno.test("a process may die of an uncaught error with I/O in flight", async () => {
  const { hung, code, signal, stderr } = await scenario("throwInFlight");
  assert.deepEqual({ hung, code, signal }, { hung: false, code: 1, signal: null });
  assert.match(stderr, /on purpose/);
});

Deno.test("requests of a device that no code holds any more still come back", async () => {
  assertEnded(await scenario("dropTheDevice", { v8Flags: "--expose-gc" }));
});

Deno.test("the smallest queue makes progress when the event loop is woken by a socketpair", async () => {
  const result = await scenario("smallestQueueBySocketpair", { deadlineMs: 20_000 });
  assertEnded(result);
});

function hasMkfifo(): true | string {
  try {
    return new Deno.Command("mkfifo", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success ||
      "mkfifo does not run";
  } catch {
    return "there is no mkfifo";
  }
}

testWhen(hasMkfifo(), "a named pipe is refused with kind open instead of waiting for its writer", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "pipe");
  assert.ok(new Deno.Command("mkfifo", { args: [path] }).outputSync().success);
  const result = await runChild(CHILD, { args: ["openPipe", path], deadlineMs: 20_000 });
  assertEnded(result);
  assert.equal(result.stdout.trim(), "open\nend of openPipe");
});

for (const wakeup of ["auto", "socketpair"] as const) {
  Deno.test(`an idle device costs no wake-ups (${wakeup})`, async () => {
    using dir = new TempDir();
    await using device = await openDevice(dir.file("data.bin", 65536), { wakeup, direct: true });
    const [buffer] = device.allocate(1, 4096);
    for (let turn = 0; turn < 10; turn++) await device.read(buffer!, turn * 4096);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { wakeups, ffiCalls, reapPasses } = device.stats;
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(
      [device.stats.wakeups, device.stats.ffiCalls, device.stats.reapPasses],
      [wakeups, ffiCalls, reapPasses],
    );
  });

  Deno.test(`a device that is used again after a rest works (${wakeup})`, async () => {
    using dir = new TempDir();
    await using device = await openDevice(dir.file("data.bin", 65536), { wakeup, direct: true });
    const [buffer] = device.allocate(1, 4096);
    for (let turn = 0; turn < 5; turn++) {
      assert.equal(await device.read(buffer!, turn * 4096), 4096);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(device.stats.wakeups > 0, "real waiting went through the wake-up");
  });
}
