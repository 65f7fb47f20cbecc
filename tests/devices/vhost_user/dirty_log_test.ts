/** A guest that moves to another machine: which pages the server marks in the log of its monitor. */
import assert from "node:assert/strict";
import { closeFile } from "../../../ffi/libc/mod.ts";
import { newSharedFile, SharedMemory } from "../../../ffi/shared_memory.ts";
import { LOG_PAGE_BYTES } from "../../../devices/guest_memory/mod.ts";
import { VHOST_CONSTANTS as H } from "../../../devices/vhost_user/layout.ts";
import { u64Payload } from "../../../devices/vhost_user/payload.ts";
import { readRequest, writeRequest } from "../../support/blk_requests.ts";
import { addressBytes, SharedGuest, type VhostClient } from "../../support/vhost_client.ts";
import { connect, FEATURES, ServedRig, until } from "./rig.ts";

const LOG_BYTES = 4096;
const LOG_USED_RING = 1 << H.VHOST_VRING_F_LOG.value;
const pageOf = (address: number) => Math.floor(address / LOG_PAGE_BYTES);

/** The monitor's side of the log. */
class MonitorLog implements Disposable {
  readonly #fd = newSharedFile("log", LOG_BYTES);
  readonly #memory = new SharedMemory({ fd: this.#fd, fileOffset: 0, byteLength: LOG_BYTES, name: "log" });

  /** Gives the log to the server, which logs nothing yet. */
  async share(client: VhostClient): Promise<void> {
    const payload = new Uint8Array(16);
    new DataView(payload.buffer).setBigUint64(0, BigInt(LOG_BYTES), true);
    await client.ask("SET_LOG_BASE", payload, [this.#fd]);
  }

  /** Pages that are marked. */
  get pages(): number[] {
    const { bytes } = this.#memory;
    return Array.from({ length: bytes.length * 8 }, (_, page) => page).filter((page) =>
      bytes[page >> 3]! >> page % 8 & 1
    );
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
    closeFile(this.#fd, "log");
  }
}

/** Turns logging on. A kick is faster than a message: without an answer in between, a request could come first. */
async function startLogging(client: VhostClient): Promise<void> {
  client.tell("SET_FEATURES", u64Payload(FEATURES | 1n << BigInt(H.VHOST_F_LOG_ALL.value)));
  await client.number("GET_QUEUE_NUM");
}

Deno.test("while logging is on, pages that are written to are marked for the monitor", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest(1 << 20, 0x10_0000);
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  using log = new MonitorLog();
  await log.share(client);
  await client.run(queue, readRequest(shared.guest, 0, 512));
  assert.deepEqual(log.pages, []);
  await startLogging(client);
  const read = readRequest(shared.guest, 0, 4096);
  await client.run(queue, read);
  await until(() => log.pages.includes(pageOf(read.data)), "the page of the data is marked");
  assert.ok(Math.min(...log.pages) >= pageOf(0x10_0000));
});

Deno.test("the used ring is marked where the monitor has asked for that, and nowhere else", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest(1 << 20, 0x10_0000);
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  using log = new MonitorLog();
  await log.share(client);
  await startLogging(client);
  // The rings have a page of their own.
  shared.guest.allocate(1, LOG_PAGE_BYTES);
  const data = new Uint8Array(512);
  const first = writeRequest(shared.guest, 0, data);
  await client.run(queue, first);
  await until(() => log.pages.includes(pageOf(first.status)), "the page of the status is marked");
  assert.deepEqual(log.pages, [pageOf(first.status)], "the front end has not asked for the ring");
  client.tell("SET_VRING_ADDR", addressBytes(queue.driver, 0, LOG_USED_RING));
  await client.number("GET_QUEUE_NUM");
  await client.run(queue, writeRequest(shared.guest, 0, data));
  await until(() => log.pages.includes(pageOf(queue.driver.used)), "the page of the used ring is marked");
  assert.deepEqual(log.pages, [pageOf(queue.driver.used), pageOf(first.status)]);
});
