/** What a device answers when it fails reaches the caller as it is. Over disks of which {@link BAD_OFFSET} is bad. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { type BlockDevice, plugged } from "../../../mod.ts";
import type { Check } from "../configuration.ts";
import { assertPattern, rejection } from "./support.ts";

/** Every read and write that touches the sector here ends with EIO. */
export const BAD_OFFSET = 512 * 1024;

/** A page that begins with the bad sector, and one around it. */
const PAGE_BYTES = 4096;
const AROUND_OFFSET = BAD_OFFSET - PAGE_BYTES;

/** Each way to read or write at an offset, two pages long, by the name of its operation. */
const WAYS:
  readonly (readonly [op: "read" | "write", start: (device: BlockDevice, offset: number) => Promise<number>])[] = [
    ["read", (device, offset) => device.read(device.allocate(1, 2 * PAGE_BYTES)[0]!, offset)],
    ["read", (device, offset) => device.read(new Uint8Array(2 * PAGE_BYTES), offset)],
    ["read", (device, offset) => device.readv(device.allocate(2, PAGE_BYTES), offset)],
    ["write", (device, offset) => device.write(device.allocate(1, 2 * PAGE_BYTES)[0]!, offset)],
    ["write", (device, offset) => device.write(new Uint8Array(2 * PAGE_BYTES), offset)],
    ["write", (device, offset) => device.writev(device.allocate(2, PAGE_BYTES), offset)],
    ["write", (device, offset) => device.write(new Uint8Array(2 * PAGE_BYTES), offset, { fua: true })],
  ];

/** Checks of errors. */
export const ERRORS: readonly Check[] = [
  {
    name: "I/O over a bad sector rejects with kind io and EIO, with its operation, offset and target",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      for (const offset of [BAD_OFFSET, AROUND_OFFSET]) {
        for (const [op, start] of WAYS) {
          const error = await rejection(start(device, offset));
          assert.deepEqual(
            [error.kind, error.errno, error.errnoName, error.op, error.offset, error.target],
            ["io", Errno.EIO, "EIO", op, offset, device.target],
          );
        }
      }
      const back = new Uint8Array(PAGE_BYTES);
      for (const offset of [0, BAD_OFFSET - 2 * PAGE_BYTES, BAD_OFFSET + 2 * PAGE_BYTES]) {
        assert.equal(await device.read(back, offset), PAGE_BYTES, "the device works on");
        assertPattern(back, offset);
      }
      assert.equal(device.broken, false);
    },
  },
  {
    name: "one request of a section that meets a bad sector gets −EIO, and the others what they asked for",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      // With gaps: requests for adjacent ranges may be merged by the kernel, and then fail together.
      const offsets = Array.from({ length: 8 }, (_, index) => BAD_OFFSET + (index - 3) * 2 * PAGE_BYTES);
      const buffers = device.allocate(8, PAGE_BYTES);
      const results = await Promise.all(plugged(() =>
        buffers.map((buffer, index) =>
          new Promise<number>((resolve) => {
            const offset = offsets[index]!;
            device.submit(
              device.createRequest({ op: "read", buffer, offset, onComplete: (_, result) => resolve(result) }),
            );
          })
        )
      ));
      assert.deepEqual(results, buffers.map((_, index) => index === 3 ? -Errno.EIO : PAGE_BYTES));
      for (const [index, buffer] of buffers.entries()) {
        if (index !== 3) assertPattern(buffer, offsets[index]!);
      }
    },
  },
];
