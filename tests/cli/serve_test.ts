/** The command line of `serve`: what it prints, how it ends, what it refuses. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseServeOptions } from "../../cli/serve/options.ts";
import { VIRTIO_CONSTANTS as V } from "../../devices/virtio/mod.ts";
import { serveVhostUserBlk } from "../../devices/serve/mod.ts";
import { openDevice } from "../../mod.ts";
import { readRequest, writeRequest } from "../support/blk_requests.ts";
import { LoopDevice, loopDevices } from "../support/loop_device.ts";
import { listens } from "../support/listens.ts";
import { canMount, MountedFileSystem } from "../support/mounted.ts";
import { testWhen } from "../support/skip.ts";
import { pattern } from "../support/temp_file.ts";
import { SharedGuest, VhostClient } from "../support/vhost_client.ts";
import { VirtioDriver } from "../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, until } from "../devices/vhost_user/rig.ts";
import { finished, runCli, spawnCli, TempFolder } from "./support.ts";

/** Waits until the server has noticed that a queue is broken. */
async function needsReset(client: VhostClient): Promise<void> {
  const bit = BigInt(V.VIRTIO_CONFIG_S_NEEDS_RESET.value);
  for (let attempt = 0; attempt < 5_000; attempt++) if ((await client.number("GET_STATUS") & bit) !== 0n) return;
  throw new Error("It never came to this: the device needs a reset");
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch {
    return false;
  }
}

Deno.test("a disk on two Workers is served until SIGTERM, which says what was done and removes the socket", async () => {
  using folder = new TempFolder();
  const socket = join(folder.path, "s");
  const disk = folder.file("disk", 1 << 18, 7);
  const child = spawnCli([
    "serve",
    "vhost-user-blk",
    "--socket",
    socket,
    "--workers=2",
    "--num-queues=2",
    "--direct=0",
    disk,
  ]);
  await until(() => listens(socket), "it listens");
  using shared = new SharedGuest();
  {
    using client = new VhostClient(socket);
    await client.negotiate(FEATURES, ALL_PROTOCOL);
    assert.equal(await client.number("GET_QUEUE_NUM"), 2n);
    client.setMemory(shared);
    const queues = [0, 1].map((index) => client.startQueue(new VirtioDriver(shared.guest, 16), index));
    const data = pattern(0, 4096);
    assert.equal((await client.run(queues[0]!, writeRequest(shared.guest, 8, data))).status, 0);
    const read = readRequest(shared.guest, 8, 4096);
    assert.equal((await client.run(queues[1]!, read)).status, 0);
    assert.deepEqual(shared.guest.at(read.data, 4096), data);
    // A broken ring in one Worker does not disturb the other.
    queues[1]!.driver.offer(99);
    client.submit(queues[1]!, readRequest(shared.guest, 0, 512));
    assert.equal((await client.run(queues[0]!, readRequest(shared.guest, 0, 512))).status, 0);
    await needsReset(client);
  }
  child.kill("SIGTERM");
  const { code, stderr, stdout } = await finished(child);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /disk \(io_uring, 256KiB\) at .*: 2 queues of 1024 entries, 2 Workers/);
  assert.match(stderr, /queue 1 is stopped, because its driver broke a rule/);
  assert.match(stderr, /3 requests, 0 errors; per request/);
  assert.ok(!isThere(socket));
});

Deno.test("what cannot be served is one line and a status", async () => {
  using folder = new TempFolder();
  const socket = join(folder.path, "s");
  const disk = folder.file("disk", 65_536);
  const serve = (...args: string[]) => runCli(["serve", "vhost-user-blk", ...args]);
  const qcow2 = folder.file("qcow2", 65_536);
  Deno.writeFileSync(qcow2, Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3, ...new Uint8Array(1016)));
  const locked = folder.file("locked", 65_536);
  await using holder = await openDevice(locked);
  await using _server = serveVhostUserBlk(holder, join(folder.path, "other"));
  for (
    const [args, status, message] of [
      [[disk], 2, /^Cannot serve without a socket/],
      [["--socket", socket, join(folder.path, "missing")], 1, /^Cannot .*ENOENT/],
      [["--socket", socket, folder.path], 1, /directory/],
      [["--socket", disk, disk], 1, /no socket stands there/],
      [["--socket", join(folder.path, "x".repeat(120)), disk], 1, /wanted 1 to 107/],
      [["--socket", socket, "--queue-size=3", disk], 2, /--queue-size 3: wanted a power of two/],
      [["--socket", socket, "--queue-size=3", "--workers=2", disk], 2, /--queue-size 3: wanted a power of two/],
      [["--socket", join(folder.path, "none", "s"), disk], 1, /its folder does not exist; wanted one that takes/],
      [["--socket", socket, "--workers=0", disk], 2, /--workers 0/],
      [
        ["--socket", socket, folder.file("empty", 0)],
        1,
        /^Cannot serve .*empty: it has 0 bytes, wanted at least one sec/,
      ],
      [["--socket", socket, "--workers=2", "memory:1MiB"], 2, /belongs to one Worker/],
      [["--socket", socket, "--driver", "linux_aio", "memory:1MiB"], 2, /prefix names driver memory/],
      [
        ["--socket", "@abstract", disk],
        2,
        /^Cannot use --socket @abstract: abstract sockets are not served, wanted a path$/m,
      ],
      [["--socket", socket, "--fd=3", disk], 2, /^Cannot use --fd 3 with --socket/],
      [["--socket", socket, "--socket-mode=0990", disk], 2, /^Cannot use --socket-mode 0990: wanted an octal number/],
      [
        ["--socket", socket, "--socket-group=no-such-group", disk],
        2,
        /^Cannot use socket group "no-such-group": wanted/,
      ],
      [["--fd=0", disk], 1, /^Cannot listen at descriptor 0: it is no UNIX stream socket that listens; wanted one/],
      [["--fd=x", disk], 2, /^Cannot use --fd x/],
      [["--fd=3", "--socket-mode=0600", disk], 2, /with a socket that was passed: wanted --socket/],
      [["--socket", socket, "--format=qcow2", disk], 2, /^Cannot use --format qcow2: wanted raw$/m],
      [["--socket", socket, qcow2], 1, /it is a qcow2 image, .*--format raw/],
      [["--socket", socket, locked], 1, new RegExp(`deno \\(process ${Deno.pid}\\) writes to it; .*--no-lock`)],
      [["--socket", socket, "--readonly", locked], 1, /writes to it; .*--no-lock/],
      [["--socket", socket, "--serial", "much too long for a serial", disk], 2, /20 ASCII/],
    ] as const
  ) {
    const { code, stderr } = await serve(...args);
    assert.match(stderr, message);
    assert.equal(code, status, stderr);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  assert.deepEqual(folder.names(), ["disk", "empty", "locked", "other", "qcow2"]);
});

testWhen(loopDevices(), "a disk that another process holds is not served, but may be with --readonly", async () => {
  using folder = new TempFolder();
  using loop = new LoopDevice();
  const socket = join(folder.path, "s");
  const holder = await openDevice(loop.path, { exclusive: true });
  try {
    const { code, stderr } = await runCli(["serve", "vhost-user-blk", "--socket", socket, loop.path]);
    assert.equal(code, 1);
    assert.match(stderr, /^Cannot open .*EBUSY/);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
    assert.ok(!isThere(socket));
    const child = spawnCli(["serve", "vhost-user-blk", "--readonly", "--socket", socket, loop.path]);
    await until(() => listens(socket), "it listens");
    child.kill("SIGTERM");
    assert.equal((await finished(child)).code, 0);
  } finally {
    await holder.close();
  }
});

Deno.test("there are at least as many queues as Workers, and fewer are refused", () => {
  const parse = (raw: Record<string, string>) => parseServeOptions("disk", { socket: "s", ...raw });
  assert.equal(parse({}).queueCount, 16);
  assert.equal(parse({ workers: "20" }).queueCount, 20);
  assert.equal(parse({ workers: "2", numQueues: "8" }).queueCount, 8);
  assert.throws(() => parse({ workers: "3", numQueues: "2" }), /--num-queues 2 with --workers 3: .*wanted at least as/);
  assert.throws(() => parse({ numQueues: "257" }), /--num-queues 257/);
  assert.throws(() => parse({ poll: "2" }), /--poll 2/);
  assert.throws(() => parse({ block: "yes" }), /--block yes/);
  assert.throws(() => parse({ serial: "" }), /--serial/);
  assert.equal(parse({}).logicalBlockSize, 512);
  assert.equal(parse({ logicalBlockSize: "4k" }).logicalBlockSize, 4096);
  for (const size of ["256", "513", "128k", "0"]) {
    assert.throws(
      () => parse({ logicalBlockSize: size }),
      /--logical-block-size .*: wanted a power of two from 512 to/,
    );
  }
  assert.throws(
    () => parse({ logicalBlockSize: "4k", physicalBlockSize: "512" }),
    /--physical-block-size 512: .*from 4096/,
  );
});

Deno.test("--batch-ramp is taken by its old name as well, which the help does not show", async () => {
  const parse = (raw: Record<string, string>) => parseServeOptions("disk", { socket: "s", ...raw }).batchRamp;
  assert.equal(parse({}), true);
  assert.equal(parse({ batchRamp: "0" }), false);
  assert.equal(parse({ shares: "0" }), false);
  assert.throws(() => parse({ batchRamp: "2" }), /Cannot use --batch-ramp 2: wanted 0, 1/);
  assert.throws(
    () => parse({ shares: "0", batchRamp: "1" }),
    /Cannot use --shares 0 with --batch-ramp: .*one of the two/,
  );
  const old = await runCli(["serve", "vhost-user-blk", "disk", "--socket", "s", "--shares", "2"]);
  assert.equal(old.code, 2);
  assert.match(old.stderr, /Cannot use --shares 2: wanted 0, 1/);
  const { stdout } = await runCli(["serve", "vhost-user-blk", "--help"]);
  assert.match(stdout, /--batch-ramp <0\|1>/);
  assert.doesNotMatch(stdout, /--shares/);
});

for (const args of [["memory:64MiB"], ["--driver", "memory", "64MiB"]]) {
  Deno.test(`a memory disk is served: ${args.join(" ")}`, async () => {
    using folder = new TempFolder();
    const socket = join(folder.path, "s");
    const child = spawnCli(["serve", "vhost-user-blk", "--socket", socket, "--num-queues=1", ...args]);
    await until(() => listens(socket), "it listens");
    using shared = new SharedGuest();
    {
      using client = new VhostClient(socket);
      await client.negotiate(FEATURES, ALL_PROTOCOL);
      client.setMemory(shared);
      const queue = client.startQueue(new VirtioDriver(shared.guest, 16), 0);
      const data = pattern(0, 4096);
      assert.equal((await client.run(queue, writeRequest(shared.guest, 8, data))).status, 0);
      const read = readRequest(shared.guest, 8, 4096);
      assert.equal((await client.run(queue, read)).status, 0);
      assert.deepEqual(shared.guest.at(read.data, 4096), data);
    }
    child.kill("SIGTERM");
    const { code, stderr } = await finished(child);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /memory:64MiB \(memory, 64MiB\) at .*: 1 queue of 1024 entries, 1 Worker$/m);
  });
}

testWhen(
  canMount("btrfs"),
  "a disk that direct I/O cannot reach to its end goes through the page cache, and it is said",
  async () => {
    using mounted = new MountedFileSystem("btrfs");
    const image = join(mounted.path, "image");
    Deno.writeFileSync(image, pattern(0, (1 << 20) + 512));
    for (const options of [["--workers=2"], ["--direct=1"]]) {
      const socket = join(mounted.path, "s");
      const child = spawnCli(["serve", "vhost-user-blk", "--socket", socket, ...options, image]);
      await until(() => listens(socket), "it listens");
      using shared = new SharedGuest();
      {
        using client = new VhostClient(socket);
        await client.negotiate(FEATURES, ALL_PROTOCOL);
        client.setMemory(shared);
        const queue = client.startQueue(new VirtioDriver(shared.guest, 16), 1);
        assert.equal((await client.run(queue, writeRequest(shared.guest, 2048, pattern(5, 512)))).status, 0);
      }
      child.kill("SIGTERM");
      const { code, stderr } = await finished(child);
      assert.equal(code, 0, stderr);
      assert.match(
        stderr,
        /the page cache is used: direct I\/O takes whole blocks of 4096 bytes, and the file ends within/,
      );
      assert.equal(Deno.statSync(image).size, (1 << 20) + 512);
      assert.deepEqual(Deno.readFileSync(image).subarray(1 << 20), pattern(5, 512));
    }
  },
);
