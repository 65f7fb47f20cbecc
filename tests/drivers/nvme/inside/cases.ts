/** What runs in the guest, as tests: the driver on an emulated controller. Needs its address in PLUGIO_TEST_ADDRESS. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Random } from "../../../../core/base/random.ts";
import { type BlockDevice, openDevice, plug } from "../../../../mod.ts";
import { Errno } from "../../../../core/base/errno.ts";
import { StorageError } from "../../../../core/base/errors.ts";
import "../../../support/libraries.ts";
import { readSystemFile } from "../../../../ffi/sysfs.ts";

const ADDRESS = Deno.env.get("PLUGIO_TEST_ADDRESS")!;
const NAMESPACES = Number(Deno.env.get("PLUGIO_TEST_NAMESPACES"));

/** Bit 2 of the command register: the device may access memory (PCI Local Bus Specification). */
function busMaster(): boolean {
  const fields = readSystemFile(`/proc/bus/pci/${ADDRESS.slice(5, 7)}/${ADDRESS.slice(8)}`);
  return fields !== null && (fields.charCodeAt(4) & 4) !== 0;
}

for (let nsid = 1; nsid <= NAMESPACES; nsid++) {
  for (const wait of ["event", "poll", "block"] as const) {
    Deno.test(`namespace ${nsid}, waiting by ${wait}: what random writes leave is what reads find`, async () => {
      await using disk = await openDevice(`nvme:${ADDRESS}/${nsid}`, { wait });
      await model(disk, nsid * 10 + wait.length);
    });
  }
}

/** Random writes, zeroes and reads of the first MiB, compared with memory. */
async function model(disk: BlockDevice, seed: number): Promise<void> {
  const random = new Random(seed);
  const blocks = (1 << 20) / disk.blockSize;
  const expected = new Uint8Array(1 << 20);
  await disk.read(expected, 0);
  const [memory] = disk.allocate(1, 1 << 20);
  for (let step = 0; step < 80; step++) {
    const first = random.below(blocks);
    const count = 1 + random.below(Math.min(blocks - first, 40));
    const [at, length] = [first * disk.blockSize, count * disk.blockSize];
    const start = random.below((memory!.length - length) / disk.blockSize + 1) * disk.blockSize;
    const buffer = random.below(2) === 0 ? memory!.subarray(start, start + length) : new Uint8Array(length);
    switch (random.below(4)) {
      case 0:
        await disk.writeZeroes(at, length);
        expected.fill(0, at, at + length);
        break;
      case 1:
        assert.equal(await disk.read(buffer, at), length);
        assertSame(buffer, expected.subarray(at, at + length), `seed ${seed}, step ${step}`);
        break;
      default:
        for (let index = 0; index < length; index++) buffer[index] = step + index * 3;
        await disk.write(buffer, at, { fua: random.below(2) === 0 });
        expected.set(buffer, at);
    }
  }
  await disk.flush();
  const all = new Uint8Array(1 << 20);
  await disk.read(all, 0);
  assertSame(all, expected, `seed ${seed}, at the end`);
}

/** Compared by native code: under emulation a megabyte in JavaScript takes as long as a hundred reads. */
function assertSame(found: Uint8Array, expected: Uint8Array, when: string): void {
  const first = () => found.findIndex((byte, index) => byte !== expected[index]);
  if (Buffer.compare(found, expected) !== 0) assert.fail(`byte ${first()} differs (${when})`);
}

Deno.test("a section of 32 reads is one submission doorbell, and at most two completion doorbells", async () => {
  await using disk = await openDevice(`nvme:${ADDRESS}/1`);
  const buffers = disk.allocate(32, 4096);
  const before = { ...disk.stats };
  const rounds = 50;
  for (let round = 0; round < rounds; round++) {
    const reads: Promise<number>[] = [];
    {
      using _batch = plug();
      for (const [index, buffer] of buffers.entries()) reads.push(disk.read(buffer, index * 4096));
    }
    await Promise.all(reads);
  }
  assert.equal(disk.stats.submits - before.submits, rounds);
  assert.ok(disk.stats.doorbells - before.doorbells <= rounds * 4, `${disk.stats.doorbells - before.doorbells}`);
});

Deno.test("two namespaces in one Worker share controller and queue, and one section is one doorbell", async () => {
  if (NAMESPACES < 2) return;
  await using one = await openDevice(`nvme:${ADDRESS}/1`);
  await using two = await openDevice(`nvme:${ADDRESS}/2`);
  assert.equal(one.stats, two.stats);
  const before = one.stats.submits;
  const reads: Promise<number>[] = [];
  {
    using _batch = plug();
    reads.push(one.read(new Uint8Array(4096), 0), two.read(new Uint8Array(4096), 0));
  }
  await Promise.all(reads);
  assert.equal(one.stats.submits - before, 1);
});

Deno.test("a namespace that is not there is refused, and the controller is free again", async () => {
  await assert.rejects(openDevice(`nvme:${ADDRESS}/77`), /there is no such namespace; wanted/);
  await using disk = await openDevice(`nvme:${ADDRESS}/1`);
  assert.ok(disk.size > 0);
});

Deno.test("owners that end with I/O in flight leave the controller reset, and it can be opened again", async (t) => {
  // Both take seconds to load under emulation: together, and once.
  const worker = startWorker();
  const child = startHammer();
  await t.step("while this Worker has the controller, another one is refused with the doctor's sentence", async () => {
    await using _disk = await openDevice(`nvme:${ADDRESS}/1`);
    const message = await worker.ask("open");
    assert.match(message, /another program, or another Worker of this one, has the controller open; wanted: fuser/);
  });
  await t.step("a Worker that is terminated", async () => {
    assert.equal(await worker.ask("hammer"), "running");
    assert.equal(busMaster(), true);
    worker.terminate();
    const deadline = performance.now() + 20_000;
    while (busMaster() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(busMaster(), false);
    // The thread that ends first resets the controller, then closes it.
    await using disk = await openWhenFree(deadline);
    assert.equal(await disk.read(new Uint8Array(4096), 0), 4096);
  });
  await t.step("a process that is killed", async () => {
    await child.hammer();
    assert.equal(busMaster(), true);
    await child.kill();
    assert.equal(busMaster(), false);
    await using disk = await openDevice(`nvme:${ADDRESS}/1`);
    assert.equal(await disk.read(new Uint8Array(4096), 0), 4096);
  });
});

/** A program that waits for a word before it takes the controller. */
function startHammer(): { hammer(): Promise<void>; kill(): Promise<void> } {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P=test", "--no-check", "--cached-only", new URL("hammer.ts", import.meta.url).pathname],
    env: { PLUGIO_TEST_ADDRESS: ADDRESS },
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = process.stdout.getReader();
  return {
    async hammer() {
      const writer = process.stdin.getWriter();
      await writer.write(new Uint8Array(1));
      await writer.close();
      await reader.read();
    },
    async kill() {
      process.kill("SIGKILL");
      await process.status;
      await reader.cancel();
    },
  };
}

function startWorker(): { ask(task: string): Promise<string>; terminate(): void } {
  const worker = new Worker(new URL("worker.ts", import.meta.url).href, { type: "module" });
  return {
    ask(task) {
      const answer = new Promise<string>((resolve) => worker.onmessage = ({ data }) => resolve(data));
      worker.postMessage({ task, address: ADDRESS });
      return answer;
    },
    terminate: () => worker.terminate(),
  };
}

/** Opens namespace 1 once no process has the controller any more. */
async function openWhenFree(deadlineMs: number): Promise<BlockDevice> {
  for (;;) {
    try {
      return await openDevice(`nvme:${ADDRESS}/1`);
    } catch (error) {
      const isBusy = error instanceof StorageError && error.errno === Errno.EBUSY;
      if (!isBusy || performance.now() > deadlineMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

Deno.test("closing ends bus mastering and frees all memory of the controller", async () => {
  const disk = await openDevice(`nvme:${ADDRESS}/1`);
  const [buffer] = disk.allocate(1, 4096);
  await disk.read(buffer!, 0);
  await disk.close();
  assert.equal(busMaster(), false);
  assert.equal(buffer!.length, 0);
  await assert.rejects(disk.read(new Uint8Array(4096), 0), StorageError);
});
