/** Sockets that cannot be, and clients that do not behave: refused with a reason, while the server lives on. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { closeFile, newEventFd } from "../../../ffi/libc/mod.ts";
import { MAX_PASSED_FDS, MAX_SOCKET_PATH_BYTES } from "../../../ffi/unix_socket.ts";
import { serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { MAX_GUEST_BYTES } from "../../../devices/vhost_user/session_memory.ts";
import { u64Payload } from "../../../devices/vhost_user/payload.ts";
import { messageNumber } from "../../../devices/vhost_user/wire.ts";
import { runChild } from "../../support/child.ts";
import { TempDir } from "../../support/temp_file.ts";
import { memoryTable, messageBytes, regionBytes, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { TestGuest } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, openDescriptors, ServedRig, until } from "./rig.ts";

const encoder = new TextEncoder();

/** What a client does wrong, and what the log then says. */
const MISDEEDS: readonly (readonly [name: string, act: (client: VhostClient) => void, line: RegExp])[] = [
  ["speaks another protocol", (client) => client.raw(encoder.encode("GET / HTTP/1.1\r\n\r\n")), /version/],
  [
    "announces 4 GiB",
    (client) => client.raw(messageBytes(1, 1, new Uint8Array(0), 0xffff_ffff)),
    /announces 4294967295/,
  ],
  ["ends inside of a header", (client) => client.raw(Uint8Array.of(1, 0, 0)), /ended after 3 bytes/],
  [
    "ends inside of a payload",
    (client) => client.raw(messageBytes(2, 1, new Uint8Array(3), 8)),
    /middle of SET_FEATURES/,
  ],
  [
    "sends an unknown message",
    (client) => client.raw(messageBytes(99, 1, new Uint8Array(0))),
    /message 99 is refused/,
  ],
  ["sends too short a payload", (client) => client.tell("SET_FEATURES", new Uint8Array(4)), /has 4 bytes; wanted 8/],
  ["sends too few descriptors", (client) => client.tell("SET_LOG_BASE", new Uint8Array(16)), /0 descriptors; wanted 1/],
  ["sends too many descriptors", (client) => withFds(client, 2), /2 descriptors; wanted 0 to 1/],
  [
    "sends as many descriptors as the kernel lets through",
    (client) => withFds(client, MAX_PASSED_FDS),
    /253 descriptors/,
  ],
  [
    "sends descriptors with a message that takes none",
    (client) => withFd(client, "GET_FEATURES"),
    /1 descriptors; wanted 0/,
  ],
  ["maps more memory than any guest has", withTooMuch, new RegExp(`wanted at most ${MAX_GUEST_BYTES}`)],
  ["maps more than its file has", (client) => withMemory(client, 1 << 30), /guest memory.*file of 65536 bytes/],
  ["maps memory that is no file", (client) => withMemory(client, 4096, newEventFd()), /regular file/],
  ["maps at an address beyond 2^53", (client) => withMemory(client, 4096, undefined, 2 ** 54), /less than 2\^53/],
];

function withFds(client: VhostClient, count: number): void {
  const fd = newEventFd();
  client.tell("SET_VRING_CALL", u64Payload(0n), Array.from({ length: count }, () => fd));
  closeFile(fd, "event");
}

function withFd(client: VhostClient, name: "GET_FEATURES"): void {
  const fd = newEventFd();
  client.raw(messageBytes(messageNumber(name), 1, new Uint8Array(0)), [fd]);
  closeFile(fd, "event");
}

function withMemory(client: VhostClient, byteLength: number, other?: number, address = 0x1000): void {
  using shared = new SharedGuest(1 << 16);
  const guest = new TestGuest({ ...shared.memory, bytes: shared.memory.bytes, byteLength } as never, address);
  client.tell("SET_MEM_TABLE", memoryTable(regionBytes(guest)), [other ?? shared.fd]);
  if (other !== undefined) closeFile(other, "other");
}

/** Two regions, of which each would be allowed; the file has no room for them, which is found later. */
function withTooMuch(client: VhostClient): void {
  using shared = new SharedGuest(1 << 16);
  const byteLength = MAX_GUEST_BYTES / 2 + 4096;
  const regions = [0x1000, 2 ** 45].map((address) =>
    regionBytes(new TestGuest({ bytes: shared.memory.bytes, byteLength } as never, address, address))
  );
  client.tell("SET_MEM_TABLE", memoryTable(...regions), [shared.fd, shared.fd]);
}

for (const [name, act, line] of MISDEEDS) {
  Deno.test(`a client that ${name} is sent away with a reason, and leaks nothing`, async () => {
    await using rig = await ServedRig.start();
    const visit = async (): Promise<void> => {
      {
        using client = new VhostClient(rig.socket);
        act(client);
      }
      await until(() => rig.lines.some((each) => /closed|disconnected/.test(each)), "the session is over");
    };
    await visit();
    await rig.logged(line);
    rig.lines.length = 0;
    const before = openDescriptors();
    for (let round = 0; round < 3; round++) {
      await visit();
      rig.lines.length = 0;
    }
    await until(() => openDescriptors() <= before, `${openDescriptors()} descriptors are open, ${before} before`);
    using client = new VhostClient(rig.socket);
    assert.ok(await client.negotiate(FEATURES, ALL_PROTOCOL) > 0n);
  });
}

Deno.test("a client that never reads is sent away, and one that says nothing waits without harm", async () => {
  await using rig = await ServedRig.start();
  {
    using client = new VhostClient(rig.socket);
    const ask = messageBytes(1, 1, new Uint8Array(0));
    await until(() => {
      try {
        client.raw(ask);
      } catch {
        // Full for the moment, or closed already.
      }
      return rig.lines.some((line) => /does not read/.test(line));
    }, "it is sent away");
  }
  using _silent = new VhostClient(rig.socket);
  await rig.logged(/has connected/);
});

Deno.test("a socket of a live server is left alone, a stale one is replaced, anything else is refused", async () => {
  await using rig = await ServedRig.start();
  const serve = (path: string, lines: string[] = []) =>
    serveVhostUserBlk(rig.device, path, { log: (line) => void lines.push(line) });
  assert.throws(() => serve(rig.socket), /in use by a live server/);
  using client = new VhostClient(rig.socket);
  assert.ok(await client.number("GET_FEATURES") > 0n);
  using dir = new TempDir();
  assert.throws(() => serve(dir.file("file", 10)), /no socket stands there/);
  assert.throws(() => serve(join(dir.path, "x".repeat(MAX_SOCKET_PATH_BYTES))), /wanted 1 to 107/);
  assert.throws(() => serve(join(dir.path, "missing", "s")), /ENOENT/);
  assert.throws(() => serve(""), /0 bytes/);
});

Deno.test("a server that was killed leaves a socket, which the next one replaces and says so", async () => {
  using dir = new TempDir();
  const socket = join(dir.path, "s");
  const url = new URL("./children/listen.ts", import.meta.url);
  assert.equal((await runChild(url, { args: [socket] })).signal, "SIGKILL");
  await using rig = await ServedRig.start();
  const lines: string[] = [];
  const server = serveVhostUserBlk(rig.device, socket, { log: (line) => void lines.push(line) });
  assert.match(lines[0]!, /stale socket/);
  await server.close();
  assert.throws(() => Deno.statSync(socket), Deno.errors.NotFound);
});

Deno.test("options that make no sense are RangeErrors, before there is a socket", async () => {
  await using rig = await ServedRig.start();
  const path = join(rig.dir.path, "never");
  for (
    const [options, message] of [
      [{ queueCount: 0 }, /queueCount 0: wanted/],
      [{ queueCount: 257 }, /queueCount 257: wanted/],
      [{ queueSize: 3 }, /queueSize 3: wanted/],
      [{ queueSize: 2048 }, /queueSize 2048: wanted/],
      [{ logicalBlockSize: 513 }, /logicalBlockSize 513: wanted/],
      [{ logicalBlockSize: 4096, physicalBlockSize: 512 }, /physicalBlockSize 512: wanted at least/],
      [{ format: "qcow2" as "raw" }, /format .*qcow2.*: wanted raw/],
      [{ serial: "x".repeat(21) }, /20 ASCII/],
      [{ serial: "ü" }, /ASCII/],
    ] as const
  ) assert.throws(() => serveVhostUserBlk(rig.device, path, options), message);
  assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
});
