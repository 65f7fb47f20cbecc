/** Requests that a device must refuse, each with its answer, with header and data in one or in two descriptors. */
import assert from "node:assert/strict";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "../../../devices/virtio_blk/layout.ts";
import {
  type GuestRequest,
  header,
  type RangePart,
  ranges,
  readRequest,
  sendRequest,
  writeRequest,
} from "../../support/blk_requests.ts";
import { BlkRig, type BlkRigOptions } from "../../support/blk_rig.ts";
import { type TestGuest, WRITE } from "../../support/virtio_driver.ts";

const DISCARD = B.VIRTIO_BLK_T_DISCARD.value;
const ZEROES = B.VIRTIO_BLK_T_WRITE_ZEROES.value;
const CAPACITY = 100_000;
const { ioError, unsupported, ok } = BlkStatus;

interface Case {
  readonly name: string;
  readonly make: (guest: TestGuest) => GuestRequest;
  readonly status: number;
  readonly options?: BlkRigOptions;
}

const range = (type: number, ...parts: readonly RangePart[]) => (guest: TestGuest) =>
  sendRequest(guest, type, 0, ranges(...parts));

const CASES: readonly Case[] = [
  { name: "two discard segments", make: range(DISCARD, [0, 8, 0], [8, 8, 0]), status: unsupported },
  { name: "two write-zeroes segments", make: range(ZEROES, [0, 8, 0], [8, 8, 0]), status: unsupported },
  {
    name: "half a discard segment",
    make: (guest) => sendRequest(guest, DISCARD, 0, new Uint8Array(8)),
    status: unsupported,
  },
  {
    name: "no discard segment",
    make: (guest) => sendRequest(guest, DISCARD, 0, new Uint8Array(0)),
    status: unsupported,
  },
  { name: "discard past the end", make: range(DISCARD, [CAPACITY - 1, 2, 0]), status: ioError },
  { name: "zeroes past the end", make: range(ZEROES, [CAPACITY, 1, 0]), status: ioError },
  { name: "a sector near 2^64", make: range(DISCARD, [0xffff_ffff_ffff_ffffn, 1, 0]), status: ioError },
  { name: "discard with the flag of write zeroes", make: range(DISCARD, [0, 8, 1]), status: unsupported },
  { name: "reserved flags of discard", make: range(DISCARD, [0, 8, 2]), status: unsupported },
  { name: "reserved flags of write zeroes", make: range(ZEROES, [0, 8, 4]), status: unsupported },
  { name: "an unknown type", make: (guest) => sendRequest(guest, 99, 0, new Uint8Array(512)), status: unsupported },
  {
    name: "secure erase, not offered",
    make: (guest) => sendRequest(guest, 14, 0, ranges([0, 8, 0])),
    status: unsupported,
  },
  {
    name: "a write past the end",
    make: (guest) => writeRequest(guest, CAPACITY - 1, new Uint8Array(1024)),
    status: ioError,
  },
  {
    name: "a write at 2^64",
    make: (guest) => writeRequest(guest, 0xffff_ffff_ffff_ffffn, new Uint8Array(512)),
    status: ioError,
  },
  { name: "a write of half a sector", make: (guest) => writeRequest(guest, 0, new Uint8Array(256)), status: ioError },
  {
    name: "a write to a read-only disk",
    make: (guest) => writeRequest(guest, 0, new Uint8Array(512)),
    status: ioError,
    options: { readOnly: true },
  },
  {
    name: "discard on a read-only disk",
    make: range(DISCARD, [0, 8, 0]),
    status: ioError,
    options: { readOnly: true },
  },
];

const VALID: readonly Case[] = [
  { name: "a discard", make: range(DISCARD, [8, 32_768, 0]), status: ok },
  { name: "write zeroes that may unmap", make: range(ZEROES, [8, 8, 1]), status: ok },
];

/** Header and data joined in one descriptor: a layout of two. */
function joined(guest: TestGuest, request: GuestRequest): GuestRequest {
  const readable = request.buffers.filter(({ flags }) => flags === 0);
  const bytes = readable.flatMap(({ address, length }) => [...guest.at(address, length)]);
  const address = guest.place(Uint8Array.from(bytes));
  return { ...request, buffers: [{ address, length: bytes.length, flags: 0 }, request.buffers.at(-1)!] };
}

for (const [valid, cases] of [[false, CASES], [true, VALID]] as const) {
  for (const { name, make, status, options } of cases) {
    for (const layout of ["separate", "joined", "indirect"]) {
      Deno.test(`${name} (${layout}): status ${status}${valid ? "" : ", and nothing reaches the disk"}`, async () => {
        const rig = new BlkRig({ diskBytes: CAPACITY * 512, guestBytes: 1 << 20, ...options });
        const request = make(rig.guest);
        const sent = layout === "joined" ? joined(rig.guest, request) : request;
        assert.equal(await rig.run(sent, layout === "indirect"), status);
        assert.equal(rig.disk.calls.length, valid ? 1 : 0);
        assert.equal(rig.queue.broken, null);
      });
    }
  }
}

Deno.test("a header that is too short is an I/O error: there is a place to say so", async () => {
  const rig = new BlkRig();
  const request = readRequest(rig.guest, 0, 512);
  const short = [{ ...request.buffers[0]!, length: 15 }, ...request.buffers.slice(1)];
  assert.equal(await rig.run({ ...request, buffers: short }), ioError);
  const none = readRequest(rig.guest, 0, 512);
  assert.equal(await rig.run({ ...none, buffers: none.buffers.slice(1) }), ioError);
});

Deno.test("a request without a writable byte breaks the queue: there is no place for an answer", () => {
  const rig = new BlkRig();
  const address = rig.guest.place(header(B.VIRTIO_BLK_T_FLUSH.value, 0));
  rig.driver.add([{ address, length: 16, flags: 0 }]);
  rig.blk.pass();
  assert.match(rig.queue.broken!, /status/);
  assert.equal(rig.blk.inFlight, 0);
});

Deno.test("reads and writes of nothing succeed without I/O", async () => {
  const rig = new BlkRig();
  assert.equal(await rig.run(readRequest(rig.guest, 0, 0)), ok);
  assert.equal(await rig.run(writeRequest(rig.guest, 0, new Uint8Array(0))), ok);
  assert.equal(rig.disk.calls.length, 0);
});

Deno.test("a status byte in a descriptor of its own, or at the end of the data, is found either way", async () => {
  const rig = new BlkRig();
  const request = readRequest(rig.guest, 0, 512);
  const buffers = [request.buffers[0]!, { address: request.data, length: 513, flags: WRITE }];
  rig.offer({ ...request, buffers });
  rig.blk.pass();
  rig.disk.completeAll();
  await rig.blk.drain();
  assert.equal(rig.guest.at(request.data + 512, 1)[0], ok);
});
