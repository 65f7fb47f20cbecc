/** The server is killed under load, again and again, and started anew: nothing is lost and nothing is done twice. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { closeFile } from "../../../ffi/libc/mod.ts";
import { Random } from "../../../core/base/random.ts";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { inflightPayload, readInflight } from "../../../devices/vhost_user/payload.ts";
import { writeRequest } from "../../support/blk_requests.ts";
import { startServer } from "../../support/serve_process.ts";
import { TempDir } from "../../support/temp_file.ts";
import { SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES } from "./rig.ts";

const KILLS = 4;
const DEPTH = 16;
const SLOTS = 256;
const SEED = Math.floor(Math.random() * 2 ** 31);

/** What the front end keeps over restarts, as QEMU does. */
class Survivor {
  readonly shared = new SharedGuest(1 << 22);
  readonly driver = new VirtioDriver(this.shared.guest, 64);
  inflight: { readonly bytes: Uint8Array; readonly fd: number } | null = null;

  async connect(socket: string): Promise<{ client: VhostClient; queue: ReturnType<VhostClient["startQueue"]> }> {
    const client = new VhostClient(socket);
    await client.negotiate(FEATURES, ALL_PROTOCOL);
    if (this.inflight === null) {
      // Fewer than the ring has.
      const asked = { byteLength: 0, fileOffset: 0, queueCount: 1, queueSize: 16 };
      const reply = await client.ask("GET_INFLIGHT_FD", inflightPayload(asked));
      const { byteLength } = readInflight(reply.payload);
      this.inflight = { bytes: inflightPayload({ ...asked, byteLength }), fd: reply.fds[0]! };
    }
    client.tell("SET_INFLIGHT_FD", this.inflight.bytes, [this.inflight.fd]);
    client.setMemory(this.shared);
    // The base is what the front end can know: where the answers are.
    return { client, queue: client.startQueue(this.driver, 0, { base: this.driver.usedIndex }) };
  }
}

Deno.test(`kill -9 under load, ${KILLS} times: every write is answered once and is there (seed ${SEED})`, async () => {
  using dir = new TempDir();
  const socket = join(dir.path, "s");
  const file = dir.sparse("disk.img", SLOTS * 512);
  const random = new Random(SEED);
  const survivor = new Survivor();
  const { guest } = survivor.shared;
  const buffers = Array.from({ length: SLOTS }, (_, slot) => writeRequest(guest, slot, new Uint8Array(512)));
  const versions = new Uint32Array(SLOTS);
  const pending = new Map<number, number>();
  let submitted = 0;
  let answered = 0;
  const submit = (client: VhostClient, queue: ReturnType<VhostClient["startQueue"]>) => {
    // One write per slot at a time: what is in the file at the end is then known.
    let slot = random.below(SLOTS);
    while ([...pending.values()].includes(slot)) slot = (slot + 1) % SLOTS;
    versions[slot]!++;
    guest.at(buffers[slot]!.data, 512).fill(versions[slot]! & 0xff);
    guest.at(buffers[slot]!.status, 1)[0] = 0xee;
    pending.set(client.submit(queue, buffers[slot]!), slot);
    submitted++;
  };
  const take = () => {
    for (const { head } of survivor.driver.reap()) {
      const slot = pending.get(head);
      assert.ok(slot !== undefined, `head ${head} was answered twice, or never asked`);
      assert.equal(guest.at(buffers[slot]!.status, 1)[0], BlkStatus.ok);
      pending.delete(head);
      answered++;
    }
  };
  for (let life = 0; life <= KILLS; life++) {
    const server = await startServer(socket, file);
    const { client, queue } = await survivor.connect(socket);
    const goal = answered + 200 + random.below(300);
    while (answered < goal) {
      while (pending.size < DEPTH) submit(client, queue);
      await new Promise((resolve) => setTimeout(resolve, 0));
      take();
    }
    if (life === KILLS) {
      while (pending.size > 0) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        take();
      }
    } else {
      while (pending.size < DEPTH) submit(client, queue);
    }
    server.kill(life === KILLS ? "SIGTERM" : "SIGKILL");
    await server.status;
    client[Symbol.dispose]();
  }
  assert.equal(answered, submitted);
  const content = Deno.readFileSync(file);
  for (let slot = 0; slot < SLOTS; slot++) assert.equal(content[slot * 512], versions[slot]! & 0xff, `slot ${slot}`);
  closeFile(survivor.inflight!.fd, "in-flight");
  survivor.shared[Symbol.dispose]();
});
