/** What a session asks of its device: whether there is a configuration, which features it lets pass, when it starts over. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { BlkModel } from "../../../devices/virtio_blk/mod.ts";
import { heapMemory } from "../../../drivers/memory/heap_memory.ts";
import { closeFile, listFolder, newEventFd } from "../../../ffi/libc/mod.ts";
import { listenAt } from "../../../ffi/unix_socket.ts";
import { featureBits, type VirtioConfig } from "../../../devices/virtio/mod.ts";
import { u64Payload } from "../../../devices/vhost_user/payload.ts";
import { InThreadVringBackend, VhostUserServer } from "../../../devices/vhost_user/mod.ts";
import type { VringBackend } from "../../../devices/vhost_user/vring_backend.ts";
import { CONFIG, PROTOCOL_FEATURES_BIT, ProtocolFeature } from "../../../devices/vhost_user/wire.ts";
import { readSystemFile } from "../../../ffi/sysfs.ts";
import { flushRequest } from "../../support/blk_requests.ts";
import { FakeDisk } from "../../support/fake_disk.ts";
import { TempDir } from "../../support/temp_file.ts";
import { configWrite, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL } from "./rig.ts";

const VERSION_1 = featureBits(32);
const PROTOCOL = featureBits(PROTOCOL_FEATURES_BIT);
/** Bits 2 and 3 are what QEMU adds for a virtio-scsi device without asking. */
const TOLERATED = featureBits(2, 3);

/** A device without queues at work: what was asked of it and of those who serve its queues, in order. */
function device(config: Uint8Array | null, resetOrder?: unknown) {
  const events: unknown[] = [];
  const virtio: VirtioConfig = {
    features: VERSION_1,
    tolerated: TOLERATED,
    queueCount: 3,
    maxQueueSize: 64,
    config,
    writeConfig: (offset) => {
      events.push(`write ${offset}`);
      return null;
    },
    reset: () => {
      events.push("reset");
      return resetOrder;
    },
  };
  const backend = {
    onBroken: null,
    reset: () => Promise.resolve(void events.push("stopped")),
    configured: () => Promise.resolve(void events.push("configured")),
    manage: (order: unknown) => {
      events.push(order);
      return Promise.resolve([]);
    },
  } as Partial<VringBackend> as VringBackend;
  return { virtio, backend, events };
}

class DeviceRig implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly lines: string[] = [];
  readonly events: unknown[];
  readonly client: VhostClient;
  readonly server: VhostUserServer;

  constructor(
    { virtio, backend, events }: ReturnType<typeof device> | {
      virtio: VirtioConfig;
      backend: VringBackend;
      events: unknown[];
    },
  ) {
    const path = join(this.dir.path, "s");
    this.events = events;
    const log = (line: string) => void this.lines.push(line);
    this.server = new VhostUserServer(listenAt(path), path, { device: virtio, backend, log });
    this.client = new VhostClient(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.server.close();
    this.dir[Symbol.dispose]();
  }
}

Deno.test("a device without a configuration space offers no feature for it, and a front end that asks all the same lives on", async () => {
  await using rig = new DeviceRig(device(null));
  const { client, events } = rig;
  const config = featureBits(ProtocolFeature.config);
  assert.equal(await client.number("GET_PROTOCOL_FEATURES") & config, 0n);
  await client.negotiate(VERSION_1 | PROTOCOL, ALL_PROTOCOL);
  assert.equal((await client.ask("GET_CONFIG", configWrite(0, 0, 0, 0, 0))).payload.byteLength, 0);
  assert.equal(await client.try("SET_CONFIG", configWrite(0, 1)), false);
  await rig.server.configChanged();
  assert.equal(await client.number("GET_QUEUE_NUM"), 3n);
  assert.deepEqual(events, []);
  client.tell("SET_PROTOCOL_FEATURES", u64Payload(config));
  await client.closed();
});

Deno.test("a device with one offers the feature, and both its ends are told of a change", async () => {
  await using rig = new DeviceRig(device(Uint8Array.of(1, 2, 3, 4)));
  const { client, events } = rig;
  assert.notEqual(await client.number("GET_PROTOCOL_FEATURES") & featureBits(ProtocolFeature.config), 0n);
  await client.negotiate(VERSION_1 | PROTOCOL, ALL_PROTOCOL);
  const { payload } = await client.ask("GET_CONFIG", configWrite(0, 0, 0, 0, 0));
  assert.deepEqual([...new Uint8Array(payload.buffer, CONFIG.byteLength)], [1, 2, 3, 4]);
  assert.ok(await client.try("SET_CONFIG", configWrite(2, 1)));
  await rig.server.configChanged();
  assert.deepEqual(events, ["write 2", "configured", "configured"]);
});

Deno.test("features that a device tolerates may be set, are not offered, and any other that was not offered is refused", async () => {
  await using rig = new DeviceRig(device(null));
  const { client } = rig;
  assert.equal(await client.number("GET_FEATURES") & TOLERATED, 0n);
  client.tell("SET_PROTOCOL_FEATURES", u64Payload(ALL_PROTOCOL & ~featureBits(ProtocolFeature.config)));
  assert.ok(await client.try("SET_FEATURES", u64Payload(VERSION_1 | PROTOCOL | TOLERATED)));
  assert.equal(await client.try("SET_FEATURES", u64Payload(VERSION_1 | featureBits(4))), false);
  assert.ok(rig.lines.some((line) => /0x10 were not offered/.test(line)), rig.lines.join());
});

Deno.test("a driver that resets the device, or a new owner, has what was set forgotten in all Workers", async () => {
  await using rig = new DeviceRig(device(null, { forget: "everything" }));
  const { client, events } = rig;
  await client.negotiate(VERSION_1 | PROTOCOL, ALL_PROTOCOL & ~featureBits(ProtocolFeature.config));
  assert.ok(await client.try("SET_STATUS", u64Payload(7n)));
  assert.deepEqual(events, []);
  assert.ok(await client.try("SET_STATUS", u64Payload(0n)));
  assert.deepEqual(events, ["reset", { forget: "everything" }]);
  assert.ok(await client.try("SET_OWNER"));
  assert.deepEqual(events.slice(2), ["stopped", "reset", { forget: "everything" }]);
});

Deno.test("a device with nothing to forget sends no order", async () => {
  await using rig = new DeviceRig(device(null));
  assert.equal(await rig.client.number("GET_STATUS"), 0n);
  rig.client.tell("SET_STATUS", u64Payload(0n));
  assert.equal(await rig.client.number("GET_STATUS"), 0n);
  assert.deepEqual(rig.events, ["reset"]);
});

/** How many epoll instances of this process wait for a descriptor. */
function waitsFor(fd: number): number {
  const line = new RegExp(`^tfd: +${fd} `, "m");
  return listFolder("/proc/self/fd", 65_536).filter((name) =>
    line.test(readSystemFile(`/proc/self/fdinfo/${name}`) ?? "")
  ).length;
}

Deno.test("disks that come and go by an order are slept for from then on, and no longer", async () => {
  const fds = [newEventFd(), newEventFd(), newEventFd()] as const;
  /** A disk whose model goes from one descriptor to others when it is told to. */
  class Changing extends BlkModel {
    readonly fds = new Set<number>([fds[0], fds[1]]);

    override get completionFds(): readonly number[] {
      return [...this.fds];
    }

    override manage(): void {
      this.fds.delete(fds[0]);
      this.fds.add(fds[2]);
    }
  }
  const disk = new FakeDisk(1 << 16);
  const model = new Changing(disk, heapMemory, {
    serial: "",
    writeBack: true,
    merge: true,
    deferNotify: true,
    batchRamp: true,
    workerCount: 1,
  });
  const backend = new InThreadVringBackend(model, { poll: false, block: true, log: () => {} });
  {
    const { virtio, events } = device(null);
    await using rig = new DeviceRig({ virtio, backend, events });
    const { client } = rig;
    using shared = new SharedGuest();
    assert.deepEqual(fds.map(waitsFor), [0, 0, 0], "no queue is served yet");
    await client.negotiate(VERSION_1 | PROTOCOL, ALL_PROTOCOL & ~featureBits(ProtocolFeature.config));
    client.setMemory(shared);
    const queue = client.startQueue(new VirtioDriver(shared.guest, 16), 0);
    // A driver without a flush in its features has durable writes, and its flush is answered at once.
    assert.equal((await client.run(queue, flushRequest(shared.guest))).status, 0);
    assert.deepEqual(fds.map(waitsFor), [1, 1, 0]);
    await backend.manage("another disk");
    assert.deepEqual(fds.map(waitsFor), [0, 1, 1]);
  }
  assert.deepEqual(fds.map(waitsFor), [0, 0, 0]);
  for (const fd of fds) closeFile(fd, "completion");
});
