/** A server ends at a signal, whatever a front end has done to what the two share. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { VIRTIO_CONSTANTS as V } from "../../devices/virtio/mod.ts";
import { u64Payload } from "../../devices/vhost_user/payload.ts";
import { closeFile, libc, LIBC_CONSTANTS as C, newEventFd, signalEventFd } from "../../ffi/libc/mod.ts";
import { readRequest } from "../support/blk_requests.ts";
import { listens } from "../support/listens.ts";
import { hasLibblkio } from "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { hasStorageDaemon, StorageDaemon } from "../support/storage_daemon.ts";
import { pattern } from "../support/temp_file.ts";
import { type ClientQueue, SharedGuest, VhostClient } from "../support/vhost_client.ts";
import { VirtioDriver } from "../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, until } from "../devices/vhost_user/rig.ts";
import { type CliResult, finished, spawnCli, TempFolder } from "./support.ts";

/** A server that has not ended by then hangs. */
const HUNG_MS = 20_000;

const LIBRARY = hasLibblkio();
const DAEMON = LIBRARY === true ? hasStorageDaemon() : LIBRARY;

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch {
    return false;
  }
}

/** A server in a process of its own, which does not outlive the test. */
class ServeChild implements Disposable {
  readonly socket: string;
  readonly #child: Deno.ChildProcess;
  readonly #result: Promise<CliResult>;
  readonly #watchdog: ReturnType<typeof setTimeout>;

  constructor(folder: TempFolder, target: string, options: readonly string[]) {
    this.socket = join(folder.path, "s");
    this.#child = spawnCli(["serve", "vhost-user-blk", `--socket=${this.socket}`, "--direct=0", ...options, target]);
    this.#result = finished(this.#child);
    this.#watchdog = setTimeout(() => this.#child.kill("SIGKILL"), HUNG_MS);
  }

  async listens(): Promise<void> {
    await until(() => listens(this.socket), "it listens");
  }

  /** Sends a signal; the process may have ended. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  ended(): Promise<CliResult> {
    return this.#result;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#watchdog);
  }
}

async function connect(socket: string, shared: SharedGuest, index = 0) {
  const client = new VhostClient(socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  client.setMemory(shared);
  return { client, queue: client.startQueue(new VirtioDriver(shared.guest, 16), index) };
}

/** Makes reads of an empty counter and writes to a full one wait, for all who have the open file. */
function clearNonblocking(fd: number): void {
  const flags = libc().fcntl(fd, C.F_GETFL.value, 0n);
  assert.equal(libc().fcntl(fd, C.F_SETFL.value, BigInt(flags & ~C.O_NONBLOCK.value)), 0);
}

/** Fills the counter of an eventfd, whatever it had. */
function fill(fd: number): void {
  libc().fcntl(fd, C.F_SETFL.value, BigInt(C.O_NONBLOCK.value));
  libc().read(fd, new Uint8Array(8), 8n);
  assert.equal(libc().write(fd, new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer), 8n), 8n);
  clearNonblocking(fd);
}

/** Leaves the kick at nothing, so that a read of it would wait. */
function empty(fd: number): void {
  libc().fcntl(fd, C.F_SETFL.value, BigInt(C.O_NONBLOCK.value));
  libc().read(fd, new Uint8Array(8), 8n);
  clearNonblocking(fd);
}

async function misuse(client: VhostClient, queue: ClientQueue): Promise<void> {
  const { guest } = queue.driver;
  const err = newEventFd();
  client.tell("SET_VRING_ERR", u64Payload(BigInt(queue.index)), [err]);
  await client.run(queue, readRequest(guest, 0, 512));
  for (const fd of [queue.kickFd, queue.callFd, err]) clearNonblocking(fd);
  for (let round = 0; round < 3; round++) {
    fill(queue.callFd);
    await client.run(queue, readRequest(guest, round, 512));
    // A kick that is taken back: the thread that is woken by it and reads finds nothing.
    signalEventFd(queue.kickFd);
    empty(queue.kickFd);
  }
  fill(err);
  // What cannot be: the error is to be signalled.
  queue.driver.offer(99);
  signalEventFd(queue.kickFd);
  const bit = BigInt(V.VIRTIO_CONFIG_S_NEEDS_RESET.value);
  while ((await client.number("GET_STATUS") & bit) === 0n);
  empty(queue.kickFd);
  assert.equal(await client.number("GET_QUEUE_NUM"), 2n);
  closeFile(err, "err");
}

for (const options of [[], ["--block=0"], ["--poll=1"], ["--workers=2"]]) {
  const name = options.join("") || "by default";
  Deno.test(`kick, call and err that would block keep a server from nothing (${name})`, async () => {
    using folder = new TempFolder();
    const disk = folder.file("disk", 1 << 16);
    Deno.writeFileSync(disk, pattern(0, 1 << 16));
    using server = new ServeChild(folder, disk, ["--num-queues=2", ...options]);
    await server.listens();
    {
      using shared = new SharedGuest();
      const { client, queue } = await connect(server.socket, shared, 1);
      using _client = client;
      await misuse(client, queue);
    }
    {
      using shared = new SharedGuest();
      const { client, queue } = await connect(server.socket, shared, 1);
      using _client = client;
      const read = readRequest(shared.guest, 2, 4096);
      assert.equal((await client.run(queue, read)).status, 0);
      assert.deepEqual(shared.guest.at(read.data, 4096), pattern(1024, 4096));
      fill(queue.callFd);
      clearNonblocking(queue.kickFd);
      server.kill("SIGTERM");
      const { code, stderr } = await server.ended();
      assert.equal(code, 0, stderr);
    }
    assert.ok(!isThere(server.socket));
  });
}

testWhen(DAEMON, "a second signal ends a server whose disk does not answer, and takes its socket away", async () => {
  using folder = new TempFolder();
  await using daemon = await StorageDaemon.start(folder.file("disk", 1 << 20));
  using server = new ServeChild(folder, `blkio:virtio-blk-vhost-user:${daemon.socket}`, ["--direct=1"]);
  await server.listens();
  using shared = new SharedGuest();
  const { client, queue } = await connect(server.socket, shared);
  using _client = client;
  await client.run(queue, readRequest(shared.guest, 0, 512));
  daemon.suspend();
  try {
    client.submit(queue, readRequest(shared.guest, 0, 512));
    assert.equal(await client.number("GET_QUEUE_NUM"), 16n);
    server.kill("SIGTERM");
    await client.closed();
    assert.ok(isThere(server.socket), "it waits for what is in flight");
    server.kill("SIGINT");
    assert.equal((await server.ended()).code, 130);
    assert.ok(!isThere(server.socket));
  } finally {
    daemon.resume();
  }
});
