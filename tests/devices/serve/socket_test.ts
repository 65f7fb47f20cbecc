/** Where front ends connect: who may, and sockets that another process made. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { duplicateFile } from "../../../ffi/libc/mod.ts";
import { listenAt } from "../../../ffi/unix_socket.ts";
import { type ServeBlkOptions, serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { type BlockDevice, openDevice } from "../../../mod.ts";
import { testWhen } from "../../support/skip.ts";
import { TempDir } from "../../support/temp_file.ts";
import { tool } from "../../support/tool.ts";
import { VhostClient } from "../../support/vhost_client.ts";
import { finished, spawnCli } from "../../cli/support.ts";

async function withDisk(use: (device: BlockDevice, dir: string) => Promise<void>): Promise<void> {
  using dir = new TempDir();
  await using device = await openDevice(dir.file("disk.img", 1 << 16));
  await use(device, dir.path);
}

/** A front end is answered. */
async function answers(client: VhostClient): Promise<void> {
  assert.ok(await client.number("GET_FEATURES") > 0n);
}

Deno.test("mode and group of a socket are those that were asked for, whatever the umask is", () =>
  withDisk(async (device, dir) => {
    const socket = join(dir, "s");
    // Root may give any group, others their own.
    const group = Deno.uid() === 0 ? 1 : Deno.gid()!;
    for (const umask of [0o000, 0o077]) {
      const before = Deno.umask(umask);
      try {
        for (const socketMode of [0o660, 0o600, 0o666]) {
          await using _server = serveVhostUserBlk(device, socket, { socketMode, socketGroup: group });
          const status = Deno.statSync(socket);
          assert.equal(status.mode! & 0o777, socketMode);
          assert.equal(status.gid, group);
        }
        await using _server = serveVhostUserBlk(device, socket);
        assert.equal(Deno.statSync(socket).mode! & 0o777, 0o777 & ~umask);
      } finally {
        Deno.umask(before);
      }
    }
  }));

Deno.test("a group is named as well, and one that is not there leaves no socket behind", () =>
  withDisk(async (device, dir) => {
    const socket = join(dir, "s");
    const name = tool("id", "-gn")!;
    {
      await using _server = serveVhostUserBlk(device, socket, { socketGroup: name });
      assert.equal(Deno.statSync(socket).gid, Number(tool("id", "-g")));
    }
    const serve = (options: ServeBlkOptions) => serveVhostUserBlk(device, socket, options);
    assert.throws(
      () => serve({ socketGroup: "no-such-group" }),
      /^RangeError: Cannot use socket group "no-such-group"/,
    );
    assert.throws(() => serve({ socketMode: 0o1777 }), RangeError);
    assert.throws(() => serve({ socketMode: "0660" as never }), TypeError);
    assert.throws(() => serve({ socketGroup: -1 }), RangeError);
    assert.throws(() => Deno.statSync(socket), Deno.errors.NotFound);
  }));

Deno.test("abstract names and descriptors that do not listen are refused in one line", () =>
  withDisk((device) => {
    assert.throws(
      () => serveVhostUserBlk(device, "@name"),
      /^RangeError: Cannot serve at "@name": abstract sockets are/,
    );
    assert.throws(() => serveVhostUserBlk(device, 0), /^StorageError: Cannot listen at descriptor 0: it is no UNIX/);
    assert.throws(
      () => serveVhostUserBlk(device, 99_999),
      /^StorageError: Cannot listen at descriptor 99999: it is no UNIX/,
    );
    assert.throws(() => serveVhostUserBlk(device, -1), RangeError);
    assert.throws(
      () => serveVhostUserBlk(device, 3, { socketMode: 0o600 }),
      /^RangeError: Cannot set mode or group of/,
    );
    return Promise.resolve();
  }));

Deno.test("a socket that was passed is served, left where it is, and served again", () =>
  withDisk(async (device, dir) => {
    const socket = join(dir, "s");
    const owner = listenAt(socket);
    try {
      for (let round = 0; round < 2; round++) {
        // Its copy is the server's to close, as one that an exec has left open.
        await using _server = serveVhostUserBlk(device, duplicateFile(owner.fd, "listener"));
        using client = new VhostClient(socket);
        await answers(client);
      }
      assert.ok(Deno.statSync(socket).isSocket);
      // Who comes while there is no server waits for the next one.
      using early = new VhostClient(socket);
      await using _server = serveVhostUserBlk(device, duplicateFile(owner.fd, "listener"));
      await answers(early);
    } finally {
      owner.close();
    }
  }));

/** Makes a listening socket, passes it as a service manager does, and becomes the program. */
const ACTIVATE = `use Socket; use POSIX; $^F = 100; my $path = shift; my $n = shift;
socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, sockaddr_un($path)) or die; listen($s, 8) or die;
POSIX::dup2(fileno($s), 3) if fileno($s) != 3; $ENV{LISTEN_FDS} = $n; $ENV{LISTEN_PID} = $$; exec @ARGV;`;

testWhen(
  tool("perl", "-v") !== null || "there is no perl",
  "the command line serves what a service manager passes",
  async () => {
    using dir = new TempDir();
    const disk = dir.file("disk.img", 1 << 16);
    for (const [fds, args] of [["1", []], ["2", ["--fd", "3"]]] as const) {
      const socket = join(dir.path, fds);
      const child = spawnCli(["serve", "vhost-user-blk", ...args, disk], {}, ["perl", "-e", ACTIVATE, socket, fds]);
      using client = await connected(socket);
      await answers(client);
      child.kill("SIGTERM");
      const { code, stderr } = await finished(child);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /disk.img .* at descriptor 3: 16 queues/);
      assert.ok(Deno.statSync(socket).isSocket);
    }
    const child = spawnCli(["serve", "vhost-user-blk", disk], {}, ["perl", "-e", ACTIVATE, join(dir.path, "3"), "2"]);
    const { code, stderr } = await finished(child);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^Cannot use LISTEN_FDS=2: wanted one socket/);
  },
);

/** Connects as soon as there is a socket. */
async function connected(socket: string): Promise<VhostClient> {
  for (let attempt = 0; attempt < 5_000; attempt++) {
    try {
      return new VhostClient(socket);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  throw new Error(`It never came to this: ${socket} listens`);
}
