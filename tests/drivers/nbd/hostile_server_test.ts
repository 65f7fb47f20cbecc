/** Servers that answer late, in pieces, in another order, with errors, with nonsense, or not at all. */
import assert from "node:assert/strict";
import { Random } from "../../../core/base/random.ts";
import { type BlockDevice, InvariantError, openDevice, plugged, StorageError } from "../../../mod.ts";
import { ALL_FLAGS, FakeNbdServer, type Peer, type Script, type SeenRequest } from "../../support/fake_nbd_server.ts";
import { ascii, bytesOf, chunk, simpleReply, u16, u32, u64 } from "../../support/nbd_bytes.ts";
import "../../support/libraries.ts";
import { pattern } from "../../support/temp_file.ts";

const MIB = 1 << 20;

/** What a promise rejects with; throws where it resolves. */
async function rejection(promise: Promise<unknown>): Promise<StorageError> {
  const error = await promise.then(() => new Error("expected a rejection"), (reason) => reason);
  assert.ok(error instanceof StorageError, String(error));
  assert.ok(!error.message.includes("\n"));
  return error;
}

/** After a good handshake. */
function transmits(script: (peer: Peer) => Promise<void> | void, structured = false): Script {
  return async (peer) => {
    await peer.handshake({}, structured);
    await script(peer);
  };
}

/** Reads of 512 bytes side by side, and how each has come out. */
function reads(device: BlockDevice, count: number): Promise<PromiseSettledResult<number>[]> {
  const buffers = device.allocate(count, 512);
  return Promise.allSettled(plugged(() => buffers.map((buffer, index) => device.read(buffer, index * 512))));
}

function assertBroken(
  device: BlockDevice,
  results: readonly PromiseSettledResult<number>[],
  errnoName: string,
  text: RegExp,
) {
  for (const result of results) {
    assert.ok(result.status === "rejected" && result.reason instanceof StorageError);
    assert.equal(result.reason.errnoName, errnoName);
    assert.match(result.reason.message, text);
  }
  assert.equal(device.broken, true);
}

Deno.test("replies out of order, and cut at every byte, reach their requests", async () => {
  const disk = pattern(0, MIB);
  await using server = new FakeNbdServer(transmits(async (peer) => {
    const seen = await peer.requests(8);
    for (const { cookie, offset, length } of seen.reverse()) {
      for (const byte of bytesOf([simpleReply(cookie), disk.subarray(offset, offset + length)])) {
        await peer.send(Uint8Array.of(byte));
      }
    }
    await peer.serve(disk);
  }));
  await using device = await openDevice(server.uri);
  const buffers = device.allocate(8, 300);
  await Promise.all(plugged(() => buffers.map((buffer, index) => device.read(buffer, index * 1000 + 7))));
  for (const [index, buffer] of buffers.entries()) assert.deepEqual(buffer, pattern(index * 1000 + 7, 300));
});

Deno.test("a large payload in odd pieces goes to vectored buffers as it should", async () => {
  const disk = pattern(0, MIB);
  await using server = new FakeNbdServer(transmits(async (peer) => {
    for (const { cookie, offset, length } of await peer.requests(2)) {
      const bytes = bytesOf([simpleReply(cookie), disk.subarray(offset, offset + length)]);
      for (let at = 0; at < bytes.length; at += 70_001) await peer.send(bytes.subarray(at, at + 70_001));
    }
    await peer.serve(disk);
  }));
  await using device = await openDevice(server.uri);
  const pieces = [...device.allocate(3, 100_001), ...device.allocate(2, 50_000)];
  const [single] = device.allocate(1, 300_000);
  const both = plugged(() => [device.readv(pieces, 5), device.read(single!, 12_345)]);
  assert.deepEqual(await Promise.all(both), [400_003, 300_000]);
  assert.deepEqual(bytesOf(pieces), pattern(5, 400_003));
  assert.deepEqual(single, pattern(12_345, 300_000));
});

Deno.test("each error of the wire is the errno of its name, and one that is unknown is EINVAL", async () => {
  const cases = [[1, "EPERM"], [5, "EIO"], [12, "ENOMEM"], [22, "EINVAL"], [28, "ENOSPC"], [75, "EOVERFLOW"]] as const;
  const more = [[95, "EOPNOTSUPP"], [108, "ESHUTDOWN"], [11, "EINVAL"], [4, "EINVAL"], [
    0xffff_ffff,
    "EINVAL",
  ]] as const;
  const all = [...cases, ...more];
  await using server = new FakeNbdServer(transmits(async (peer) => {
    for (const [error] of all) await peer.send(simpleReply((await peer.request())!.cookie, error));
    await peer.serve(pattern(0, MIB));
  }));
  await using device = await openDevice(server.uri);
  for (const [error, name] of all) {
    const { kind, errnoName } = await rejection(device.write(new Uint8Array(512), 0));
    assert.deepEqual([kind, errnoName], ["io", name], `error ${error}`);
  }
  assert.equal(await device.read(new Uint8Array(512), 0), 512, "the device works on");
});

Deno.test("what breaks the protocol breaks the device: each request fails once, and tells why", async () => {
  const first = (seen: readonly SeenRequest[]) => seen[0]!.cookie;
  const cases: readonly (readonly [string, RegExp, (seen: readonly SeenRequest[]) => Uint8Array])[] = [
    ["a wrong magic", /begins with 0x61616161/, () => ascii("aaaaaaaaaaaaaaaa")],
    ["an unknown cookie", /cookie that no request/, () => simpleReply(0xffff_ffff_ffff_ffffn)],
    ["a slot of nothing", /cookie that no request/, () => simpleReply(1000n)],
    ["another generation", /cookie that no request/, (seen) => simpleReply(first(seen) + (1n << 32n))],
    ["a structured reply", /begins with 0x668e33ef/, (seen) => chunk(first(seen), 0, [])],
  ];
  for (const [name, text, reply] of cases) {
    await using server = new FakeNbdServer(transmits(async (peer) => {
      await peer.send(reply(await peer.requests(4)));
      await peer.take(1);
    }));
    await using device = await openDevice(server.uri, { nbd: { reconnectMs: 60_000 } });
    const results = await reads(device, 4);
    assertBroken(device, results, "EPROTO", text);
    assert.equal((await rejection(device.flush())).kind, "broken", name);
    assert.equal(server.clients, 1, "who breaks the protocol is not connected to again");
  }
});

Deno.test("a reply that comes twice breaks the device, and the first one counts", async () => {
  await using server = new FakeNbdServer(transmits(async (peer) => {
    const [first] = await peer.requests(3);
    const reply = bytesOf([simpleReply(first!.cookie), pattern(0, 512)]);
    await peer.send(reply, reply);
    await peer.take(1);
  }));
  await using device = await openDevice(server.uri);
  const [first, ...others] = await reads(device, 3);
  assert.deepEqual(first, { status: "fulfilled", value: 512 });
  assertBroken(device, others, "EPROTO", /cookie that no request/);
});

Deno.test("a connection that ends before, within, or after a reply fails what is in flight with ENOTCONN", async () => {
  for (const bytes of [0, 1, 15, 16, 17, 527]) {
    await using server = new FakeNbdServer(transmits(async (peer) => {
      const [first] = await peer.requests(4);
      await peer.send(bytesOf([simpleReply(first!.cookie), pattern(0, 512)]).subarray(0, bytes));
    }));
    await using device = await openDevice(server.uri);
    assertBroken(device, await reads(device, 4), "ENOTCONN", /the server has closed the connection, or died/);
  }
});

Deno.test("structured replies: chunks in any order, holes, and an error after data", async () => {
  await using server = new FakeNbdServer(transmits(async (peer) => {
    const [one, two] = await peer.requests(2);
    await peer.send(
      chunk(one!.cookie, 1, [u64(one!.offset + 512), pattern(512, 512)], 0),
      chunk(two!.cookie, 1, [u64(two!.offset), pattern(0, 100)], 0),
      chunk(one!.cookie, 2, [u64(one!.offset), u32(512)], 0),
      chunk(two!.cookie, 0x8002, [u32(5), u16(3), ascii("bad"), u64(two!.offset + 100)]),
      chunk(one!.cookie, 0, []),
    );
    await peer.take(1);
  }, true));
  await using device = await openDevice(server.uri, { nbd: { structuredReplies: true } });
  const [good, bad] = device.allocate(2, 1024);
  good!.fill(0xee);
  const [first, second] = plugged(() => [device.read(good!, 4096), device.read(bad!, 8192)]);
  const failed = rejection(second!);
  assert.equal(await first, 1024);
  assert.deepEqual(good, bytesOf([new Uint8Array(512), pattern(512, 512)]));
  assert.equal((await failed).errnoName, "EIO");
});

Deno.test("chunks that were not asked for, or are not enough, break the device", async () => {
  const cases: readonly (readonly [RegExp, (cookie: bigint) => Uint8Array])[] = [
    [/offset 0 .*not asked for/, (cookie) => chunk(cookie, 1, [u64(0), new Uint8Array(512)])],
    [/offset 4097 .*not asked for/, (cookie) => chunk(cookie, 1, [u64(4097), new Uint8Array(512)])],
    [/offset 4096 .*not asked for/, (cookie) => chunk(cookie, 2, [u64(4096), u32(0xffff_ffff)])],
    [/ends after 0 bytes of 512/, (cookie) => chunk(cookie, 0, [])],
    [/ends after 100 bytes of 512/, (cookie) => chunk(cookie, 1, [u64(4096), new Uint8Array(100)])],
    [/was not asked/, (cookie) => chunk(cookie, 5, [u32(1), u32(512), u32(0)])],
    [/more bytes than the 512/, (cookie) => {
      const part = chunk(cookie, 1, [u64(4096), new Uint8Array(400)], 0);
      return bytesOf([part, part]);
    }],
  ];
  for (const [text, reply] of cases) {
    await using server = new FakeNbdServer(transmits(async (peer) => {
      await peer.send(reply((await peer.request())!.cookie));
      await peer.take(1);
    }, true));
    await using device = await openDevice(server.uri, { nbd: { structuredReplies: true } });
    const [buffer] = device.allocate(1, 512);
    const [result] = await Promise.allSettled([device.read(buffer!, 4096)]);
    assertBroken(device, [result], "EPROTO", text);
  }
});

Deno.test("a server that hangs is waited for, is given up by time-out and by close, and holds memory until then", async () => {
  await using server = new FakeNbdServer(transmits(async (peer) => void await peer.take(1 << 30)));
  const device = await openDevice(server.uri);
  const buffers = device.allocate(2, 512);
  const other = rejection(device.read(buffers[1]!, 0));
  assert.equal((await rejection(device.read(buffers[0]!, 0, { timeoutMs: 20 }))).kind, "timeout");
  assert.throws(() => device.release(buffers), InvariantError);
  await device.close({ drainMs: 20 });
  const { errnoName, message } = await other;
  assert.equal(errnoName, "ENOTCONN");
  assert.match(message, /2 requests were in flight 20 ms after close/);
});

Deno.test("a server that is no NBD, or hangs in the handshake, is refused in one line", async () => {
  const cases: readonly (readonly [string, string, RegExp, Script])[] = [
    ["SSH", "EPROTO", /greeting is not that of NBD/, async (peer) => {
      await peer.send(ascii("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"));
      await peer.take(1000);
    }],
    [
      "oldstyle",
      "EPROTO",
      /oldstyle/,
      (peer) => peer.send(ascii("NBDMAGIC"), u64(0x420281861253), new Uint8Array(136)),
    ],
    ["one that leaves", "EPROTO", /has closed the connection in the handshake/, () => {}],
    ["one that hangs", "ETIMEDOUT", /within 50 ms/, async (peer) => void await peer.take(1000)],
    [
      "large blocks",
      "EPROTO",
      /blocks of at least 131072 bytes/,
      (peer) => peer.handshake({ minimum: 131_072, maximum: 1 << 20 }),
    ],
  ];
  for (const [name, errnoName, text, script] of cases) {
    await using server = new FakeNbdServer(script);
    const error = await rejection(
      openDevice(server.uri, { nbd: { handshakeTimeoutMs: name === "one that hangs" ? 50 : 10_000 } }),
    );
    assert.deepEqual([error.kind, error.errnoName, error.target], ["open", errnoName, server.uri], name);
    assert.match(error.message, text);
  }
});

Deno.test("without FUA a durable write is a write and a flush, and without flush it is refused", async () => {
  const disk = new Uint8Array(MIB);
  const seen: number[] = [];
  const recording = (flags: number): Script => async (peer) => {
    await peer.handshake({ flags });
    for (let request = await peer.request(); request !== null; request = await peer.request()) {
      seen.push(request.command);
      assert.equal(request.flags, 0);
      await peer.answer(request, disk);
    }
  };
  {
    await using server = new FakeNbdServer(recording(1 | 4));
    await using device = await openDevice(server.uri);
    assert.equal(await device.write(pattern(0, 512), 0, { fua: true }), 512);
    assert.deepEqual(seen.splice(0), [1, 3]);
    // Neither TRIM nor WRITE_ZEROES.
    assert.equal((await rejection(device.discard(0, 512))).errnoName, "EOPNOTSUPP");
    disk.fill(7);
    await device.writeZeroes(100, 300_000);
    assert.ok(seen.splice(0).every((command) => command === 1));
    assert.deepEqual(
      disk.subarray(99, 300_101),
      bytesOf([Uint8Array.of(7), new Uint8Array(300_000), Uint8Array.of(7)]),
    );
  }
  await using server = new FakeNbdServer(recording(1));
  await using device = await openDevice(server.uri);
  assert.match(device.notes.join(), /no flush/);
  for (const refused of [device.flush(), device.write(new Uint8Array(512), 0, { fua: true })]) {
    assert.equal((await rejection(refused)).errnoName, "EOPNOTSUPP");
  }
  assert.deepEqual(seen, []);
});

Deno.test("a read-only export opens read-only alone, and flushes nothing", async () => {
  await using server = new FakeNbdServer(async (peer) => {
    await peer.handshake({ flags: 1 | 2 });
    await peer.serve(pattern(0, MIB));
  });
  const error = await rejection(openDevice(server.uri));
  assert.deepEqual([error.kind, error.errnoName], ["open", "EROFS"]);
  await using device = await openDevice(server.uri, { readOnly: true });
  await device.flush();
  assert.equal((await rejection(device.write(new Uint8Array(1), 0))).errnoName, "EROFS");
});

Deno.test("least and most bytes of a request are kept", async () => {
  const lengths: number[] = [];
  await using server = new FakeNbdServer(async (peer) => {
    await peer.handshake({ sizeBytes: MIB + 100, minimum: 512, maximum: 65_536 });
    for (let request = await peer.request(); request !== null; request = await peer.request()) {
      lengths.push(request.length);
      await peer.answer(request, pattern(0, MIB));
    }
  });
  await using device = await openDevice(server.uri);
  assert.deepEqual([device.alignment.offset, device.size], [512, MIB]);
  assert.match(device.notes.join(), /last 100 bytes/);
  const [buffer] = device.allocate(1, 200 * 1024);
  assert.equal(await device.read(buffer!, 512), 200 * 1024);
  assert.deepEqual(buffer, pattern(512, 200 * 1024));
  assert.deepEqual(lengths, [65_536, 65_536, 65_536, 8192]);
});

Deno.test("more connections are made where the server allows them, and all of them are used", async () => {
  const counts: number[] = [];
  const script: Script = async (peer) => {
    const at = counts.push(0) - 1;
    await peer.handshake();
    for (let request = await peer.request(); request !== null; request = await peer.request()) {
      counts[at]!++;
      await peer.answer(request, pattern(0, MIB));
    }
  };
  await using server = new FakeNbdServer(script);
  {
    await using device = await openDevice(server.uri, { nbd: { connections: 4 } });
    assert.ok((await reads(device, 32)).every(({ status }) => status === "fulfilled"));
    assert.deepEqual([counts, device.stats.submits], [[8, 8, 8, 8], 4]);
  }
  await using alone = new FakeNbdServer(async (peer) => {
    await peer.handshake({ flags: ALL_FLAGS & ~256 });
    await peer.serve(pattern(0, MIB));
  });
  await using device = await openDevice(alone.uri, { nbd: { connections: 4 } });
  assert.match(device.notes.join(), /no MULTI_CONN/);
  assert.equal(alone.clients, 1);
});

Deno.test("nonsense at random between good replies ends every request once", async () => {
  const seed = Number(Deno.env.get("PLUGIO_FUZZ_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  const rounds = Number(Deno.env.get("PLUGIO_FUZZ_ROUNDS") ?? 40);
  const random = new Random(seed);
  for (let round = 0; round < rounds; round++) {
    const structured = random.below(2) === 1;
    await using server = new FakeNbdServer(transmits(async (peer) => {
      for (const request of await peer.requests(8)) {
        if (random.below(4) > 0) await peer.answer(request, pattern(0, MIB));
        else await peer.send(nonsense(random, request));
      }
    }, structured));
    await using device = await openDevice(server.uri, { nbd: { structuredReplies: structured } });
    const results = await reads(device, 8);
    assert.equal(results.length, 8, `seed ${seed}`);
    assert.equal(device.stats.completions, 8, `seed ${seed}`);
  }
});

function nonsense(random: Random, { cookie, offset }: SeenRequest): Uint8Array {
  const bytes = Uint8Array.from({ length: random.below(64) }, () => random.below(256));
  switch (random.below(5)) {
    case 0:
      return bytes;
    case 1:
      return simpleReply(cookie, random.below(200));
    case 2:
      return chunk(cookie, [0, 1, 2, 5, 6, 0x8001, 0x8002][random.below(7)]!, [u64(offset), bytes], random.below(2));
    case 3:
      return simpleReply(cookie).subarray(0, random.below(16));
    default:
      return chunk(cookie ^ BigInt(random.below(16)), 1, [u64(offset), bytes]);
  }
}
