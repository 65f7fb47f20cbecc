/** What each batching mode does to real submissions, by counters: figures that no noise touches. */
import assert from "node:assert/strict";
import {
  type BlockDevice,
  DEVICE_BATCH_MODES,
  type DeviceBatchMode,
  DRIVER_NAMES,
  openDevice,
  plugged,
} from "../../mod.ts";
import "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";

const DEPTH = 32;
const BLOCK = 4096;

/** Starts `DEPTH` reads in one section, shared out over the devices, and returns the submits that took. */
async function submitsOfSection(devices: readonly BlockDevice[]): Promise<number> {
  // Devices may share one queue: its counters are counted once.
  const queues = [...new Set(devices.map(({ stats }) => stats))];
  const submits = () => queues.reduce((sum, stats) => sum + stats.submits, 0);
  const buffers = devices.map((device) => device.allocate(DEPTH / devices.length, BLOCK));
  const before = submits();
  const reads = plugged(() => ({
    all: Promise.all(devices.flatMap((device, at) => buffers[at]!.map((b, index) => device.read(b, index * BLOCK)))),
  }));
  await reads.all;
  return submits() - before;
}

const SUBMITS: Readonly<Record<DeviceBatchMode, readonly [one: number, two: number]>> = {
  none: [DEPTH, DEPTH],
  device: [1, 2],
  plug: [1, 1],
  dispatch: [1, 1],
  auto: [1, 1],
};

/** Opens a file with a driver, or says why this machine cannot. */
async function tryDriver(driver: string): Promise<true | string> {
  using folder = new TempDir();
  try {
    await (await openDevice(folder.file("any", 65_536), { driver, readOnly: true, direct: true })).close();
    return true;
  } catch (error) {
    return `${driver} does not open a file here: ${(error as Error).message}`;
  }
}

/** Drivers whose devices share one queue of the Worker. */
const SHARING = ["io_uring", "linux_aio"];

for (const driver of SHARING.filter((name) => DRIVER_NAMES.includes(name))) {
  const usable = await tryDriver(driver);
  for (const batch of DEVICE_BATCH_MODES) {
    const [one, two] = SUBMITS[batch];
    testWhen(
      usable,
      `${driver}, mode ${batch}: ${DEPTH} reads in a section are ${one} submits, shared out over two devices ${two}`,
      async () => {
        using folder = new TempDir();
        const open = (name: string) =>
          openDevice(folder.file(name, DEPTH * BLOCK), { driver, batch, readOnly: true, direct: true });
        await using left = await open("left");
        await using right = await open("right");
        assert.equal(await submitsOfSection([left]), one);
        assert.equal(await submitsOfSection([left, right]), two);
      },
    );
  }
}

Deno.test("a batching mode that does not exist is refused with those that do", async () => {
  await assert.rejects(
    openDevice("any", { batch: "devices" as DeviceBatchMode }),
    /RangeError: Cannot use batch "devices": wanted none, device, plug, dispatch, auto/,
  );
});
