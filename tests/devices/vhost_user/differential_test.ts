/** The same front end, the same requests: our server and qemu-storage-daemon answer alike. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { VIRTIO_BLK_CONFIG, VIRTIO_BLK_CONSTANTS as B } from "../../../devices/virtio_blk/layout.ts";
import { PROTOCOL_FEATURES, ProtocolFeature } from "../../../devices/vhost_user/wire.ts";
import { Random } from "../../../core/base/random.ts";
import {
  flushRequest,
  type GuestRequest,
  type RangePart,
  ranges,
  readRequest,
  sendRequest,
  writeRequest,
} from "../../support/blk_requests.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";
import { SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { type TestGuest, VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, ServedRig } from "./rig.ts";

const DISK_BYTES = 1 << 18;
const SECTORS = DISK_BYTES / 512;

function hasDaemon(): true | string {
  try {
    const options: Deno.CommandOptions = { args: ["--version"], stdout: "null", stderr: "null" };
    return new Deno.Command("qemu-storage-daemon", options).outputSync().success || "qemu-storage-daemon does not run";
  } catch {
    return "qemu-storage-daemon is not installed";
  }
}

/** The reference on a file with the same content. */
class Daemon implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly socket: string;
  readonly file: string;

  constructor(dir: TempDir) {
    this.socket = join(dir.path, "qsd.sock");
    this.file = dir.file("qsd.img", DISK_BYTES);
    const args = [
      "--blockdev",
      `driver=file,node-name=disk,filename=${this.file},discard=unmap`,
      "--export",
      `type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=${this.socket},writable=on`,
    ];
    this.#child = new Deno.Command("qemu-storage-daemon", { args, stdin: "null" }).spawn();
  }

  async ready(): Promise<this> {
    for (let attempt = 0; attempt < 1000; attempt++) {
      try {
        Deno.statSync(this.socket);
        return this;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    throw new Error("qemu-storage-daemon does not listen");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

type Make = (guest: TestGuest) => GuestRequest;

const { VIRTIO_BLK_T_DISCARD: DISCARD, VIRTIO_BLK_T_WRITE_ZEROES: ZEROES } = B;
const send = (type: number, ...parts: readonly RangePart[]): Make => (guest) =>
  sendRequest(guest, type, 0, ranges(...parts));

/** Requests with one answer each that does not depend on chance. */
const REQUESTS: Readonly<Record<string, Make>> = {
  "read the first sector": (guest) => readRequest(guest, 0, 512),
  "read the last sector": (guest) => readRequest(guest, SECTORS - 1, 512),
  "read past the end": (guest) => readRequest(guest, SECTORS - 1, 1024),
  "read far past the end": (guest) => readRequest(guest, 2n ** 62n, 512),
  "read a sector that wraps": (guest) => readRequest(guest, 0xffff_ffff_ffff_ffffn, 512),
  "write": (guest) => writeRequest(guest, 8, pattern(1, 4096)),
  "write past the end": (guest) => writeRequest(guest, SECTORS, new Uint8Array(512)),
  "flush": flushRequest,
  "an unknown type": (guest) => sendRequest(guest, 99, 0, new Uint8Array(0)),
  "discard": send(DISCARD.value, [64, 8, 0]),
  "two discards": send(DISCARD.value, [64, 8, 0], [72, 8, 0]),
  "discard too much": send(DISCARD.value, [0, 40_000, 0]),
  "discard past the end": send(DISCARD.value, [SECTORS, 8, 0]),
  "discard with a flag": send(DISCARD.value, [0, 8, 1]),
  "discard with a reserved flag": send(DISCARD.value, [0, 8, 2]),
  "write zeroes": send(ZEROES.value, [128, 8, 0]),
  "write zeroes and unmap": send(ZEROES.value, [136, 8, 1]),
  "write zeroes past the end": send(ZEROES.value, [SECTORS - 1, 2, 0]),
  "write zeroes with a reserved flag": send(ZEROES.value, [0, 8, 4]),
  "read what was zeroed": (guest) => readRequest(guest, 120, 16 * 512),
  "read what was written": (guest) => readRequest(guest, 6, 6 * 512),
};

/** Status and data of each request, in order. */
async function answers(socket: string, requests: readonly Make[]): Promise<unknown[]> {
  using shared = new SharedGuest(1 << 22);
  using client = new VhostClient(socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  client.setMemory(shared);
  const queue = client.startQueue(new VirtioDriver(shared.guest, 64));
  const found: unknown[] = [];
  for (const make of requests) {
    const request = make(shared.guest);
    const { status } = await client.run(queue, request);
    const data = request.buffers.find(({ address, flags }) => address === request.data && flags !== 0);
    found.push({
      status,
      data: status === 0 && data !== undefined ? [...shared.guest.at(data.address, data.length)] : [],
    });
  }
  return found;
}

const READY = hasDaemon();

testWhen(READY, "each request has the answer that qemu-storage-daemon gives it", async () => {
  await using rig = await ServedRig.start({ bytes: DISK_BYTES });
  using dir = new TempDir();
  await using daemon = await new Daemon(dir).ready();
  const makes = Object.values(REQUESTS);
  const [ours, theirs] = [await answers(rig.socket, makes), await answers(daemon.socket, makes)];
  Object.keys(REQUESTS).forEach((name, index) => assert.deepEqual(ours[index], theirs[index], name));
});

testWhen(READY, "random reads and writes leave the same answers and the same disk", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Random(seed);
  await using rig = await ServedRig.start({ bytes: DISK_BYTES });
  using dir = new TempDir();
  await using daemon = await new Daemon(dir).ready();
  const makes = Array.from({ length: 150 }, (): Make => {
    const sectors = 1 + random.below(16);
    const sector = random.below(SECTORS + 8);
    const start = random.below(1 << 20);
    if (random.below(2) === 0) return (guest) => readRequest(guest, sector, sectors * 512);
    return (guest) => writeRequest(guest, sector, pattern(start, sectors * 512));
  });
  const [ours, theirs] = [await answers(rig.socket, makes), await answers(daemon.socket, makes)];
  assert.deepEqual(ours, theirs, `seed ${seed}`);
  assert.deepEqual(Deno.readFileSync(rig.file), Deno.readFileSync(daemon.file), `seed ${seed}`);
});

/** Features, protocol features and configuration, by field. */
async function offered(socket: string): Promise<{ features: bigint; protocol: bigint; config: Map<string, number> }> {
  using client = new VhostClient(socket);
  const features = await client.number("GET_FEATURES");
  const protocol = await client.number("GET_PROTOCOL_FEATURES");
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  const view = new DataView((await client.config()).slice().buffer);
  const config = new Map(
    Object.values(VIRTIO_BLK_CONFIG.fields).map(({ name, kind, offset }) => {
      const value = kind === "u8"
        ? view.getUint8(offset)
        : kind === "u16"
        ? view.getUint16(offset, true)
        : view.getUint32(offset, true);
      return [name, value] as const;
    }),
  );
  return { features, protocol, config };
}

/** Protocol features that the daemon offers and we do not, by bit, and why. */
const NOT_OURS: Readonly<Record<number, string>> = {
  8: "PAGEFAULT: for a guest that is moved while it runs already (post-copy); needs userfaultfd",
  10: "BACKEND_SEND_FD: descriptors for the front end, which only file systems and vDPA have",
  11: "HOST_NOTIFIER: doorbells of hardware, mapped into the guest",
};

/** Ours that the daemon lacks: requests that survive the server, and the status of the driver. */
const ONLY_OURS: readonly string[] = ["inflightShmfd", "status"] satisfies (keyof typeof ProtocolFeature)[];

testWhen(READY, "each protocol feature of qemu-storage-daemon is ours as well, or has a reason not to be", async () => {
  await using rig = await ServedRig.start({ bytes: DISK_BYTES });
  using dir = new TempDir();
  await using daemon = await new Daemon(dir).ready();
  const [ours, theirs] = [(await offered(rig.socket)).protocol, (await offered(daemon.socket)).protocol];
  assert.equal(ours, PROTOCOL_FEATURES);
  const bits = Array.from({ length: 64 }, (_, bit) => bit);
  const missing = bits.filter((bit) => (theirs & ~ours) >> BigInt(bit) & 1n);
  assert.deepEqual(missing.filter((bit) => !(bit in NOT_OURS)), [], `of 0x${theirs.toString(16)}`);
  const more = Object.entries(ProtocolFeature).filter(([, bit]) => (ours & ~theirs) >> BigInt(bit) & 1n);
  assert.deepEqual(more.map(([name]) => name).filter((name) => !ONLY_OURS.includes(name)), []);
});

testWhen(
  READY,
  "features and configuration are those of qemu-storage-daemon, but for what we have more or bound",
  async () => {
    await using rig = await ServedRig.start({ bytes: DISK_BYTES });
    using dir = new TempDir();
    await using daemon = await new Daemon(dir).ready();
    const [ours, theirs] = [await offered(rig.socket), await offered(daemon.socket)];
    // Notify on empty is a legacy feature (bit 24), which version 1 has no use for.
    assert.equal(theirs.features & ~ours.features & ~(1n << 24n), 0n, "a feature is missing");
    const differs = [...ours.config].filter(([name, value]) => theirs.config.get(name) !== value).map(([name]) => name);
    // It offers SIZE_MAX and leaves the size at 0; it says nothing of its write-back cache; and zeroing with the permission
    // to unmap may punch a hole here, where a file system cannot zero a range otherwise. Ranges are longer here.
    const ranges = ["max_discard_sectors", "max_write_zeroes_sectors"];
    assert.deepEqual(differs.toSorted(), [...ranges, "size_max", "wce", "write_zeroes_may_unmap"]);
  },
);
