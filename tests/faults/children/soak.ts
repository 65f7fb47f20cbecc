/**
 * Plays rounds at random for a time, and prints samples of what the process holds as JSON: `soak.ts DRIVER FOLDER MS SEED`.
 *
 * @module
 */
import { join } from "node:path";
import { listSystemFolder, readSystemFile } from "../../../ffi/sysfs.ts";
import { Random } from "../../../core/base/random.ts";
import { serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { closeIdleQueues, type DeviceOptions, openDevice } from "../../../mod.ts";
import { ALL_PROTOCOL, FEATURES } from "../../devices/vhost_user/rig.ts";
import type { ReaderTask } from "../../drivers/workers/reader_until_terminated.ts";
import { readRequest } from "../../support/blk_requests.ts";
import { SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { memoryOf } from "../holdings.ts";
import type { SoakSample } from "../soak_samples.ts";

const [driver, folder, durationText, seedText] = Deno.args as [string, string, string, string];
const durationMs = Number(durationText);
const random = new Random(Number(seedText));
const SAMPLES = 40;
const FILE_BYTES = 1 << 20;
const READER = new URL("../../drivers/workers/reader_until_terminated.ts", import.meta.url);

const file = join(folder, "data.bin");
Deno.writeFileSync(file, new Uint8Array(FILE_BYTES));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Opens, reads in a random way, gives some of it up, and closes. */
async function openAndClose(): Promise<void> {
  const waits = ["event", "poll", "block"] as const;
  const options: DeviceOptions = { driver, wait: waits[random.below(3)]!, direct: random.below(2) === 0 };
  const device = await openDevice(file, options);
  const buffers = device.allocate(1 + random.below(16), 4096);
  const abort = new AbortController();
  const reads = buffers.map((buffer, index) => {
    const bytes = random.below(3) === 0 ? new Uint8Array(4096) : buffer;
    const limits = [{}, { signal: abort.signal }, { timeoutMs: 1 }][random.below(3)]!;
    return device.read(bytes, index * 4096, limits);
  });
  if (random.below(2) === 0) abort.abort();
  const ends = await Promise.allSettled(reads);
  // A read that was given up may still hold its memory: the close waits for it.
  if (ends.every(({ status }) => status === "fulfilled")) device.release(buffers);
  await device.close();
}

async function terminateWorker(): Promise<void> {
  const worker = new Worker(READER, { type: "module" });
  const ready = new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage(
    { target: file, options: { driver, direct: true }, depth: random.below(8), served: false } satisfies ReaderTask,
  );
  await ready;
  worker.terminate();
  await pause(20);
}

async function serveGuests(): Promise<void> {
  const socket = join(folder, "s");
  const device = await openDevice(file, { direct: true, batch: "plug" });
  const server = await serveVhostUserBlk(device, socket, { queueCount: 2 });
  for (let guests = 1 + random.below(4); guests > 0; guests--) {
    using shared = new SharedGuest();
    using client = new VhostClient(socket);
    await client.negotiate(FEATURES, ALL_PROTOCOL);
    client.setMemory(shared);
    const queue = client.startQueue(new VirtioDriver(shared.guest, 16));
    for (let sector = random.below(8); sector > 0; sector--) {
      await client.run(queue, readRequest(shared.guest, sector, 4096));
    }
  }
  await server.close();
  await device.close();
}

function sample(rounds: number): SoakSample {
  const status = readSystemFile("/proc/self/status") ?? "";
  const kB = (name: string) => memoryOf(status, name);
  return {
    rounds,
    figures: {
      "descriptors": listSystemFolder("/proc/self/fd").length,
      "mappings": (readSystemFile("/proc/self/maps") ?? "").split("\n").length,
      "VmLck kB": kB("VmLck"),
      "VmPin kB": kB("VmPin"),
      "VmRSS kB": kB("VmRSS"),
    },
  };
}

const samples: SoakSample[] = [];
const startMs = performance.now();
for (let rounds = 0, next = 0; performance.now() < startMs + durationMs; rounds++) {
  if (performance.now() - startMs >= next) {
    next += durationMs / SAMPLES;
    await closeIdleQueues();
    // What the kernel does later is done.
    await pause(200);
    samples.push(sample(rounds));
  }
  if (driver === "server") await serveGuests();
  else if (random.below(10) === 0) await terminateWorker();
  else await openAndClose();
}
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(samples)));
