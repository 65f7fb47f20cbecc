/** The timer that keeps the tick going: where there is one, and that it goes with its queue. */
import assert from "node:assert/strict";
import { listFolder } from "../../ffi/libc/mod.ts";
import { closeIdleQueues, type DeviceOptions, openDevice } from "../../mod.ts";
import { hasLibblkio } from "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { until } from "../support/turns.ts";

const openDescriptors = () => listFolder("/proc/self/fd", 65_536).length;

/** Descriptors that a device takes which has read something; none is left of it afterwards. */
async function descriptorsOf(target: string, options: DeviceOptions): Promise<number> {
  await closeIdleQueues();
  const before = openDescriptors();
  const device = await openDevice(target, options);
  const [buffer] = device.allocate(1, 4096);
  assert.equal(await device.read(buffer!, 0), 4096);
  const taken = openDescriptors() - before;
  await device.close();
  await closeIdleQueues();
  await until(() => openDescriptors() === before, "everything that belongs to the device is closed");
  return taken;
}

for (const driver of ["io_uring", "linux_aio", "blkio:io_uring"]) {
  for (const wait of ["event", "block"] as const) {
    const ready = driver.startsWith("blkio") ? hasLibblkio() : true;
    testWhen(ready, `keepTick is a timer of the queue, and gone with it (${driver}, wait ${wait})`, async () => {
      using folder = new TempDir();
      const target = `${driver}:${folder.file("disk", 1 << 20)}`;
      // What is opened once and stays, such as the library.
      await using _first = await openDevice(target, { wait, queueDepth: 7 });
      const without = await descriptorsOf(target, { wait, keepTick: false });
      assert.equal(await descriptorsOf(target, { wait }), without + 1);
    });
  }
}
