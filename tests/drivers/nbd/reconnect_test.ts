/** Connections that are lost and made anew: what is sent once more, what fails, and flushes that never lie. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openDevice, plugged, StorageError } from "../../../mod.ts";
import { FakeNbdServer, type Script } from "../../support/fake_nbd_server.ts";
import { hasNbdkit, NbdServer } from "../../support/nbd_server.ts";
import { simpleReply } from "../../support/nbd_bytes.ts";
import "../../support/libraries.ts";
import { startNbdServer } from "../../support/serve_process.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;
const RECONNECT = { nbd: { reconnectMs: 30_000 } } as const;

async function rejection(promise: Promise<unknown>): Promise<StorageError> {
  const error = await promise.then(() => new Error("expected a rejection"), (reason) => reason);
  assert.ok(error instanceof StorageError, String(error));
  return error;
}

/** Takes so many requests, answers the first of them, and dies. */
function dies(count: number, answers: number, disk: Uint8Array, flags?: number): Script {
  return async (peer) => {
    await peer.handshake(flags === undefined ? {} : { flags });
    for (let taken = 0; taken < count; taken++) {
      const request = await peer.request();
      if (request !== null && taken < answers) await peer.answer(request, disk);
    }
  };
}

function serves(disk: Uint8Array, flags?: number): Script {
  return async (peer) => {
    await peer.handshake(flags === undefined ? {} : { flags });
    await peer.serve(disk);
  };
}

Deno.test("reads, writes, discards and zeroes without an answer are sent once more, those with one are not", async () => {
  const disk = pattern(0, MIB);
  await using server = new FakeNbdServer(dies(8, 3, disk), serves(disk));
  await using device = await openDevice(server.uri, RECONNECT);
  const buffers = device.allocate(6, 4096);
  buffers[5]!.fill(9);
  const all = plugged(() => [
    ...buffers.slice(0, 5).map((buffer, index) => device.read(buffer, index * 4096)),
    device.write(buffers[5]!, 500_000),
    device.discard(600_000, 4096),
    device.writeZeroes(700_000, 4096),
  ]);
  await Promise.all(all);
  for (const [index, buffer] of buffers.slice(0, 5).entries()) assert.deepEqual(buffer, pattern(index * 4096, 4096));
  assert.deepEqual(disk.subarray(500_000, 504_096), buffers[5]);
  assert.deepEqual(disk.subarray(700_000, 704_096), new Uint8Array(4096));
  assert.deepEqual([server.clients, device.stats.completions, device.broken], [2, 8, false]);
  assert.equal(device.stats.retries, 5);
});

Deno.test("a flush in flight fails where writes were answered before it, and the next one is good", async () => {
  const disk = new Uint8Array(MIB);
  await using server = new FakeNbdServer(dies(2, 1, disk), serves(disk));
  await using device = await openDevice(server.uri, RECONNECT);
  await device.write(new Uint8Array(512), 0);
  const error = await rejection(device.flush());
  assert.deepEqual([error.kind, error.errnoName], ["io", "EIO"]);
  await device.flush();
});

Deno.test("a flush in flight is sent once more where nothing was answered since the last good one", async () => {
  const disk = new Uint8Array(MIB);
  await using server = new FakeNbdServer(dies(3, 2, disk), serves(disk));
  await using device = await openDevice(server.uri, RECONNECT);
  await device.write(new Uint8Array(512), 0);
  await device.flush();
  await device.flush();
  assert.equal(server.clients, 2);
});

Deno.test("the first flush after a loss fails where writes were answered before it, also when none was in flight", async () => {
  const disk = new Uint8Array(MIB);
  await using server = new FakeNbdServer(dies(1, 1, disk), serves(disk));
  await using device = await openDevice(server.uri, RECONNECT);
  await device.write(new Uint8Array(512), 0);
  // Waits for the new connection.
  await device.read(new Uint8Array(512), 0);
  assert.equal(server.clients, 2);
  assert.equal((await rejection(device.flush())).errnoName, "EIO");
  await device.flush();
});

Deno.test("a durable write that was answered needs no flush after a loss", async () => {
  const disk = new Uint8Array(MIB);
  await using server = new FakeNbdServer(dies(1, 1, disk), serves(disk));
  await using device = await openDevice(server.uri, RECONNECT);
  await device.write(new Uint8Array(512), 0, { fua: true });
  await device.read(new Uint8Array(512), 0);
  await device.flush();
  assert.equal(server.clients, 2);
});

Deno.test("without FUA a durable write whose flush was lost is written once more, and then flushed", async () => {
  const flags = 1 | 4;
  const disk = new Uint8Array(MIB);
  const seen: number[] = [];
  const recording: Script = async (peer) => {
    await peer.handshake({ flags });
    for (let request = await peer.request(); request !== null; request = await peer.request()) {
      seen.push(request.command);
      await peer.send(simpleReply(request.cookie));
    }
  };
  await using server = new FakeNbdServer(dies(2, 1, disk, flags), recording);
  await using device = await openDevice(server.uri, RECONNECT);
  assert.equal(await device.write(new Uint8Array(512), 0, { fua: true }), 512);
  assert.deepEqual(seen, [1, 3]);
});

Deno.test("a server that comes back with another disk breaks the device", async () => {
  const disk = new Uint8Array(MIB);
  const other: Script = async (peer) => {
    await peer.handshake({ sizeBytes: 2 * MIB });
    await peer.serve(disk);
  };
  await using server = new FakeNbdServer(dies(1, 0, disk), other);
  await using device = await openDevice(server.uri, RECONNECT);
  const { errnoName, message } = await rejection(device.read(new Uint8Array(512), 0));
  assert.equal(errnoName, "ENOTCONN");
  assert.match(message, /came back with another disk: sizeBytes was 1048576, and is 2097152/);
  assert.equal(device.broken, true);
});

Deno.test("requests that come while there is no connection wait, and can be given up", async () => {
  const disk = pattern(0, MIB);
  let mayConnect = () => {};
  const gate = new Promise<void>((resolve) => mayConnect = resolve);
  const late: Script = async (peer) => {
    await gate;
    await serves(disk)(peer);
  };
  await using server = new FakeNbdServer(dies(1, 0, disk), late);
  await using device = await openDevice(server.uri, RECONNECT);
  const [first, second, third] = device.allocate(3, 512);
  const lost = device.read(first!, 0);
  while (server.clients < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  const waiting = device.read(second!, 512);
  assert.equal((await rejection(device.read(third!, 1024, { timeoutMs: 10 }))).kind, "timeout");
  mayConnect();
  assert.deepEqual(await Promise.all([lost, waiting]), [512, 512]);
  assert.deepEqual(second, pattern(512, 512));
});

Deno.test("the time for a new connection runs out, and close does not wait for one", async () => {
  const disk = new Uint8Array(MIB);
  const refuses: Script = () => {};
  {
    await using server = new FakeNbdServer(dies(1, 0, disk), refuses);
    await using device = await openDevice(server.uri, { nbd: { reconnectMs: 50 } });
    const { errnoName, message } = await rejection(device.read(new Uint8Array(512), 0));
    assert.equal(errnoName, "ENOTCONN");
    assert.match(message, /the connection was lost, and there was no connection for 50 ms/);
  }
  await using server = new FakeNbdServer(dies(1, 0, disk), refuses);
  const device = await openDevice(server.uri, { nbd: { reconnectMs: 600_000 } });
  const read = rejection(device.read(new Uint8Array(512), 0));
  await device.close({ drainMs: 20 });
  assert.equal((await read).errnoName, "ENOTCONN");
});

testWhen(hasNbdkit(), "128 in flight complete once each over slow, failing, stopped and ending servers", async () => {
  const servers = [
    () => NbdServer.nbdkit("memory", ["16M", "rdelay=2ms"], { filters: ["delay"] }),
    () => NbdServer.nbdkit("memory", ["16M", "error=EIO", "error-rate=50%"], { filters: ["error"] }),
  ];
  for (const [index, start] of servers.entries()) {
    await using server = await start();
    await using device = await openDevice(server.uri());
    const buffers = device.allocate(128, 4096);
    const results = await Promise.allSettled(
      plugged(() => buffers.map((buffer, at) => device.read(buffer, at * 4096))),
    );
    for (const result of results) {
      if (result.status === "rejected") assert.equal(result.reason.errnoName, "EIO");
    }
    assert.equal(results.some(({ status }) => status === "rejected"), index === 1);
    assert.equal(device.stats.completions, 128);
  }
  await using server = await NbdServer.nbdkit("memory", ["16M"]);
  await using device = await openDevice(server.uri());
  server.signal("SIGSTOP");
  const [buffer] = device.allocate(1, 4096);
  assert.equal((await rejection(device.read(buffer!, 0, { timeoutMs: 20 }))).kind, "timeout");
  await server.kill();
  assert.equal((await rejection(device.read(new Uint8Array(1), 0))).errnoName, "ENOTCONN");
});

for (const wait of ["event", "block"] as const) {
  Deno.test(`nothing is lost or doubled when our server is killed under a client that verifies (wait ${wait})`, async () => {
    using dir = new TempDir();
    const socket = join(dir.path, "nbd.sock");
    const path = dir.sparse("disk.img", 4 * MIB);
    let server = await startNbdServer(socket, path);
    try {
      await using device = await openDevice(`nbd+unix:///?socket=${socket}`, { wait, ...RECONNECT });
      const buffers = device.allocate(64, 16_384);
      for (let round = 0; round < 4; round++) {
        for (const [index, buffer] of buffers.entries()) buffer.fill(round * 64 + index);
        const writes = Promise.all(plugged(() => buffers.map((buffer, index) => device.write(buffer, index * 65_536))));
        if (round % 2 === 1) {
          server.kill("SIGKILL");
          await server.status;
          server = await startNbdServer(socket, path);
        }
        assert.ok((await writes).every((bytes) => bytes === 16_384));
        for (const buffer of buffers) buffer.fill(0);
        await Promise.all(plugged(() => buffers.map((buffer, index) => device.read(buffer, index * 65_536))));
        for (const [index, buffer] of buffers.entries()) {
          assert.ok(buffer.every((byte) => byte === round * 64 + index), `round ${round}, block ${index}`);
        }
      }
      assert.equal(device.stats.completions, device.stats.requests);
    } finally {
      server.kill("SIGKILL");
      await server.status;
    }
  });
}
