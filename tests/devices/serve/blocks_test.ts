/** Blocks of 512 bytes for every guest, on file systems and disks that take larger ones, or know less than others. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { VIRTIO_BLK_CONFIG, VIRTIO_BLK_CONSTANTS as B } from "../../../devices/virtio_blk/layout.ts";
import { type ServeBlkOptions, serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { type BlockDevice, type DeviceOptions, openDevice } from "../../../mod.ts";
import { flushRequest, ranges, readRequest, sendRequest, writeRequest } from "../../support/blk_requests.ts";
import { LoopDevice, loopDevices } from "../../support/loop_device.ts";
import { canMount, MountedFileSystem } from "../../support/mounted.ts";
import { startTalkingServer } from "../../support/serve_process.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";
import { tool } from "../../support/tool.ts";
import { type ClientQueue, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES } from "../vhost_user/rig.ts";

const SECTOR = 512;
const MIB = 1 << 20;
const WRITE_ZEROES = B.VIRTIO_BLK_T_WRITE_ZEROES.value;
const DISCARD = B.VIRTIO_BLK_T_DISCARD.value;
/** Requests go out two at a time on each of two queues, more than one block takes. */
const QUEUES = 2;

/** A served disk, and a guest that uses it. */
class Served implements AsyncDisposable {
  readonly device: BlockDevice;
  readonly lines: string[] = [];
  readonly client: VhostClient;
  readonly shared = new SharedGuest();
  readonly queues: ClientQueue[] = [];
  readonly #stack: AsyncDisposableStack;

  private constructor(device: BlockDevice, options: ServeBlkOptions, stack: AsyncDisposableStack) {
    this.device = device;
    const socket = join(stack.use(new TempDir()).path, "s");
    stack.use(device);
    const log = (line: string) => void this.lines.push(line);
    stack.use(serveVhostUserBlk(device, socket, { queueCount: QUEUES, ...options, log }));
    stack.use(this.shared);
    this.client = stack.use(new VhostClient(socket));
    this.#stack = stack;
  }

  static async start(path: string, open: DeviceOptions = {}, options: ServeBlkOptions = {}): Promise<Served> {
    const device = await openDevice(path, { direct: true, batch: "plug", ...open });
    const served = new Served(device, options, new AsyncDisposableStack());
    await served.client.negotiate(FEATURES, ALL_PROTOCOL);
    served.client.setMemory(served.shared);
    for (let index = 0; index < QUEUES; index++) {
      served.queues.push(served.client.startQueue(new VirtioDriver(served.shared.guest, 64), index));
    }
    return served;
  }

  async blocks(): Promise<{ readonly logical: number; readonly physical: number; readonly sectors: bigint }> {
    const config = await this.client.config();
    const view = new DataView(config.buffer, config.byteOffset);
    const { blkSize, physicalBlockExp, capacity } = VIRTIO_BLK_CONFIG.fields;
    const logical = view.getUint32(blkSize.offset, true);
    return {
      logical,
      physical: logical << view.getUint8(physicalBlockExp.offset),
      sectors: view.getBigUint64(capacity.offset, true),
    };
  }

  async write(offset: number, data: Uint8Array<ArrayBuffer>, queue = 0): Promise<number> {
    return (await this.client.run(this.queues[queue]!, writeRequest(this.shared.guest, offset / SECTOR, data))).status;
  }

  async read(offset: number, byteLength: number): Promise<Uint8Array<ArrayBuffer>> {
    const request = readRequest(this.shared.guest, offset / SECTOR, byteLength);
    assert.equal((await this.client.run(this.queues[0]!, request)).status, 0);
    return this.shared.guest.at(request.data, byteLength).slice();
  }

  async range(type: number, offset: number, byteLength: number): Promise<number> {
    const data = ranges([offset / SECTOR, byteLength / SECTOR, 0]);
    return (await this.client.run(this.queues[0]!, sendRequest(this.shared.guest, type, 0, data))).status;
  }

  async flush(): Promise<number> {
    return (await this.client.run(this.queues[0]!, flushRequest(this.shared.guest))).status;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Reads and writes at every sector of three blocks, and of lengths up to two, and compares all of it. */
async function everySector(served: Served): Promise<void> {
  const expected = new Uint8Array(4 * 4096);
  assert.equal(await served.write(0, expected), 0);
  for (let first = 0; first < 24; first++) {
    const byteLength = SECTOR * (1 + first * 5 % 8);
    const data = pattern(first * 1000, byteLength);
    expected.set(data, first * SECTOR);
    assert.equal(await served.write(first * SECTOR, data), 0);
    assert.deepEqual(await served.read(first * SECTOR, byteLength), data);
  }
  assert.equal(await served.flush(), 0);
  assert.deepEqual(await served.read(0, expected.length), expected);
  assert.equal(await served.range(WRITE_ZEROES, 3 * SECTOR, 17 * SECTOR), 0);
  expected.fill(0, 3 * SECTOR, 20 * SECTOR);
  assert.equal(await served.range(DISCARD, 25 * SECTOR, 2 * SECTOR), 0);
  // What was discarded may read as anything; what is beside it stays.
  for (const [from, to] of [[0, 25], [27, 32]] as const) {
    assert.deepEqual(
      await served.read(from * SECTOR, (to - from) * SECTOR),
      expected.slice(from * SECTOR, to * SECTOR),
    );
  }
}

/** Neighbours that are written at the same time, from two queues: none is lost. */
async function neighbours({ client, queues, shared }: Pick<Served, "client" | "queues" | "shared">, seed = 77) {
  const expected = pattern(seed, 4 * 4096);
  const requests = [];
  for (let sector = 0; sector < 32; sector++) {
    const request = writeRequest(shared.guest, sector, expected.slice(sector * SECTOR, (sector + 1) * SECTOR));
    requests.push(request);
    queues[sector % 2]!.driver.add(request.buffers);
  }
  // Kicked once it all is there.
  for (const queue of queues) client.submit(queue, flushRequest(shared.guest));
  for (const queue of queues) await client.reap(queue, 17);
  for (const { status } of requests) assert.equal(shared.guest.at(status, 1)[0], 0);
  const read = readRequest(shared.guest, 0, expected.length);
  assert.equal((await client.run(queues[0]!, read)).status, 0);
  assert.deepEqual(shared.guest.at(read.data, expected.length), expected);
}

for (const driver of ["io_uring", "linux_aio"]) {
  testWhen(
    canMount("btrfs"),
    `an image on btrfs has blocks of 512 bytes and takes each of them (${driver})`,
    async () => {
      using mounted = new MountedFileSystem("btrfs");
      const image = join(mounted.path, "image");
      Deno.writeFileSync(image, pattern(0, MIB));
      await using served = await Served.start(image, { driver });
      assert.equal(served.device.alignment.offset, 4096);
      assert.deepEqual(await served.blocks(), { logical: 512, physical: 4096, sectors: 2048n });
      assert.deepEqual(await served.read(511 * SECTOR, 3 * SECTOR), pattern(511 * SECTOR, 3 * SECTOR));
      await everySector(served);
      await neighbours(served);
      assert.match(
        served.lines.join("\n"),
        /direct I\/O takes whole blocks of 4096 bytes here.*read, changed and written/,
      );
    },
  );
}

testWhen(
  canMount("xfs"),
  "an image on XFS that shares its blocks with a snapshot still takes each of 512 bytes",
  async () => {
    using mounted = new MountedFileSystem("xfs");
    const image = join(mounted.path, "image");
    Deno.writeFileSync(image, pattern(0, MIB));
    {
      // A snapshot under a running guest, which then goes on, with blocks as before.
      await using served = await Served.start(image);
      assert.notEqual(tool("cp", "--reflink=always", image, join(mounted.path, "snapshot")), null);
      await everySector(served);
    }
    await using served = await Served.start(image);
    assert.deepEqual(await served.blocks(), { logical: 512, physical: 4096, sectors: 2048n });
    await everySector(served);
    await neighbours(served);
    assert.deepEqual(Deno.readFileSync(join(mounted.path, "snapshot")), pattern(0, MIB));
  },
);

testWhen(
  loopDevices(),
  "a disk of 4096-byte blocks has 512 for the guest as well, unless asked otherwise",
  async () => {
    using loop = new LoopDevice({ args: ["--sector-size", "4096"] });
    {
      await using served = await Served.start(loop.path);
      assert.equal(served.device.alignment.offset, 4096);
      assert.deepEqual(await served.blocks(), { logical: 512, physical: 4096, sectors: 16384n });
      await everySector(served);
      await neighbours(served);
    }
    await using served = await Served.start(loop.path, {}, { logicalBlockSize: 4096 });
    assert.deepEqual(await served.blocks(), { logical: 4096, physical: 4096, sectors: 16384n });
    assert.equal(await served.write(0, new Uint8Array(4096)), 0);
    assert.equal(await served.write(SECTOR, new Uint8Array(SECTOR)), 1);
    assert.ok(served.lines.every((line) => !/direct I\/O/.test(line)));
  },
);

testWhen(loopDevices(), "two Workers of a server lock the blocks that they share", async () => {
  using loop = new LoopDevice({ args: ["--sector-size", "4096"] });
  using dir = new TempDir();
  const socket = join(dir.path, "s");
  const server = await startTalkingServer(socket, loop.path, "--workers=2", "--num-queues=2");
  try {
    using shared = new SharedGuest();
    using client = new VhostClient(socket);
    await client.negotiate(FEATURES, ALL_PROTOCOL);
    client.setMemory(shared);
    const queues = [0, 1].map((index) => client.startQueue(new VirtioDriver(shared.guest, 64), index));
    for (let round = 0; round < 6; round++) await neighbours({ client, queues, shared }, round);
  } finally {
    await server.kill();
  }
});

testWhen(loopDevices(), "write-through holds for parts of blocks", async () => {
  using loop = new LoopDevice({ args: ["--sector-size", "4096"] });
  await using served = await Served.start(loop.path, {}, { writeBack: false });
  await everySector(served);
});

testWhen(
  canMount("ramfs"),
  "a file system without discards and zeroes: the first are left out, the others written",
  async () => {
    using mounted = new MountedFileSystem("ramfs");
    for (const driver of ["io_uring", "linux_aio"]) {
      const image = join(mounted.path, driver);
      Deno.writeFileSync(image, pattern(0, 4 * MIB));
      await using served = await Served.start(image, { direct: false, driver });
      for (let round = 0; round < 2; round++) {
        assert.equal(await served.range(DISCARD, 0, MIB), 0);
        assert.equal(await served.range(WRITE_ZEROES, SECTOR, 3 * MIB), 0);
      }
      assert.deepEqual(await served.read(0, SECTOR), pattern(0, SECTOR));
      assert.deepEqual(Deno.readFileSync(image).subarray(SECTOR, SECTOR + 3 * MIB), new Uint8Array(3 * MIB));
      assert.deepEqual(Deno.readFileSync(image).subarray(SECTOR + 3 * MIB), pattern(SECTOR + 3 * MIB, MIB - SECTOR));
      assert.equal(served.lines.filter((line) => /discards are left out/.test(line)).length, 1);
      assert.equal(served.lines.filter((line) => /zeroes are written/.test(line)).length, 1);
    }
  },
);

Deno.test("blocks are shown as they were asked for", async () => {
  using dir = new TempDir();
  const image = dir.file("image", MIB + SECTOR);
  for (
    const [options, logical, physical, sectors] of [
      [{}, 512, 512, 2049n],
      [{ physicalBlockSize: 4096 }, 512, 4096, 2049n],
      [{ logicalBlockSize: 4096 }, 4096, 4096, 2048n],
      [{ logicalBlockSize: 1024, physicalBlockSize: 65_536 }, 1024, 65_536, 2048n],
    ] as const
  ) {
    await using served = await Served.start(image, { direct: false }, options);
    assert.deepEqual(await served.blocks(), { logical, physical, sectors });
    assert.equal(served.lines.some((line) => /last 512 bytes are no whole block/.test(line)), sectors === 2048n);
  }
});
