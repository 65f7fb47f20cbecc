/** What it costs to have many files open, and to open them one after the other. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { join } from "node:path";
import { MAX_IDLE_QUEUES } from "../../core/base/limits.ts";
import { type BlockDevice, closeIdleQueues, openDevice, TRACE_PREFIX } from "../../mod.ts";
import { listFolder, readLink } from "../../ffi/libc/mod.ts";
import { readSystemFile } from "../../ffi/sysfs.ts";
import "../support/libraries.ts";
import { TempDir } from "../support/temp_file.ts";
import { until } from "../support/turns.ts";

const FILES = 64;
const FILE_BYTES = 4096;

/** Makes files of which each has bytes of its own. */
function makeFiles(dir: TempDir): string[] {
  return Array.from({ length: FILES }, (_, index) => {
    const path = join(dir.path, `${index}`);
    Deno.writeFileSync(path, new Uint8Array(FILE_BYTES).fill(index + 1));
    return path;
  });
}

for (const driver of ["io_uring", "linux_aio"]) {
  Deno.test(`${driver}: files that are open cost no megabytes each once they were read into memory of the caller's`, async () => {
    using dir = new TempDir();
    const paths = makeFiles(dir);
    const devices: BlockDevice[] = [];
    const before = Deno.memoryUsage().rss;
    for (const [index, path] of paths.entries()) {
      const device = await openDevice(path, { driver, readOnly: true });
      devices.push(device);
      const buffer = new Uint8Array(FILE_BYTES);
      assert.equal(await device.read(buffer, 0), FILE_BYTES);
      assert.ok(buffer.every((byte) => byte === index + 1));
    }
    const grown = Deno.memoryUsage().rss - before;
    for (const device of devices) await device.close();
    assert.ok(grown < FILES * 2 ** 20, `${grown} bytes for ${FILES} files`);
  });
}

/** Open descriptors of this process that lead to what `pattern` matches. */
function descriptors(pattern: RegExp): number {
  return listFolder("/proc/self/fd", 65_536).filter((fd) => pattern.test(readLink(`/proc/self/fd/${fd}`) ?? "")).length;
}

const rings = () => descriptors(/^anon_inode:\[io_uring\]$/);

/** AIO contexts of this process: the kernel maps a ring for each. */
const contexts = () => readSystemFile("/proc/self/maps")!.match(/\/\[aio\]/g)?.length ?? 0;

const QUEUES: Readonly<Record<string, () => number>> = { io_uring: rings, linux_aio: contexts };

for (const [driver, queues] of Object.entries(QUEUES)) {
  Deno.test(`${driver}: files that are opened, read and closed one after the other go through one kernel queue`, async () => {
    using dir = new TempDir();
    const paths = makeFiles(dir);
    await closeIdleQueues();
    const before = queues();
    let made = 0;
    const onMade = () => made++;
    const event = `${TRACE_PREFIX}${driver === "io_uring" ? "luring" : "laio"}_init_state`;
    subscribe(event, onMade);
    for (const [index, path] of paths.entries()) {
      const device = await openDevice(path, { driver, readOnly: true });
      const buffer = new Uint8Array(FILE_BYTES);
      assert.equal(await device.read(buffer, 0), FILE_BYTES);
      assert.ok(buffer.every((byte) => byte === index + 1));
      assert.equal(device.stats.requests, 1, "counters begin anew");
      await device.close();
      assert.equal(device.stats.requests, 1, "and those of a closed device stay as they were");
    }
    unsubscribe(event, onMade);
    assert.equal(made, 1);
    assert.equal(queues(), before + 1);
    await closeIdleQueues();
    assert.equal(queues(), before);
  });

  Deno.test(`${driver}: a file is closed with its device, although the queue stays`, async () => {
    using dir = new TempDir();
    const path = dir.file("data.bin", FILE_BYTES);
    const device = await openDevice(path, { driver });
    await device.read(new Uint8Array(FILE_BYTES), 0);
    assert.equal(descriptors(/data\.bin/), 1);
    await device.close();
    assert.equal(descriptors(/data\.bin/), 0);
    await closeIdleQueues();
  });

  Deno.test(`${driver}: many different options leave a few queues behind, and asked for, none`, async () => {
    using dir = new TempDir();
    const path = dir.file("data.bin", FILE_BYTES);
    await closeIdleQueues();
    const before = queues();
    for (let queueDepth = 1; queueDepth <= 12; queueDepth++) {
      const device = await openDevice(path, { driver, queueDepth });
      await device.close();
    }
    assert.ok(queues() > before);
    // A context that had to go may be on its way: it takes the kernel tens of milliseconds.
    await until(() => queues() <= before + MAX_IDLE_QUEUES, "few are left");
    await closeIdleQueues();
    await until(() => queues() === before, "none is left");
  });

  // What fails this test is not in it: the runner looks for operations and timers that it leaves behind.
  Deno.test(`${driver}: a test that uses devices leaves nothing behind that a runner of tests counts`, async () => {
    using dir = new TempDir();
    const path = dir.file("data.bin", FILE_BYTES);
    for (let queueDepth = 1; queueDepth <= MAX_IDLE_QUEUES + 2; queueDepth++) {
      await using device = await openDevice(path, { driver, queueDepth });
      await device.read(new Uint8Array(FILE_BYTES), 0);
    }
  });
}

Deno.test("io_uring: a file that is used a lot is registered, and its ring goes with it: old kernels would keep it open", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", FILE_BYTES);
  await closeIdleQueues();
  const before = rings();
  const device = await openDevice(path, { driver: "io_uring" });
  const bytes = new Uint8Array(FILE_BYTES);
  for (let index = 0; index < 1_100; index++) assert.equal(await device.read(bytes, 0), FILE_BYTES);
  await device.close();
  assert.equal(rings(), before);
});
