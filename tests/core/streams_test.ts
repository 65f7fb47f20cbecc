/** Options of streams, and what becomes of errors and cancels inside of them. */
import assert from "node:assert/strict";
import { openDevice } from "../../mod.ts";
import { MemoryDisk } from "../../drivers/testing.ts";

Deno.test("options of streams are checked at once", async () => {
  await using device = await openDevice("memory:1MiB", { direct: true });
  assert.throws(
    () => device.readable({ from: 1 } as never),
    /^TypeError: Cannot read a stream with option from: it is unknown/,
  );
  assert.throws(() => device.readable({ start: -1 }), /^RangeError: Cannot read a stream with start -1/);
  assert.throws(
    () => device.readable({ start: 8, end: 4 }),
    /^RangeError: Cannot read a stream with end 4: wanted at least/,
  );
  assert.throws(() => device.readable({ chunkSize: 100 }), /^RangeError: .*chunkSize 100: wanted a multiple of 512$/);
  assert.throws(() => device.writable({ depth: 0 }), /^RangeError: Cannot write a stream with depth 0/);
  assert.throws(() => device.writable({ flush: 1 as never }), /^TypeError: Cannot write a stream with flush 1/);
});

Deno.test("a chunk that is no Uint8Array ends the stream with a TypeError", async () => {
  await using device = await openDevice("memory:1MiB");
  const writer = device.writable().getWriter();
  writer.closed.catch(() => {});
  await assert.rejects(
    writer.write("text" as never),
    /^TypeError: Cannot write "text" to a stream: wanted a Uint8Array$/,
  );
});

Deno.test("an error of the disk ends a readable stream in its turn, and nothing is left unhandled", async () => {
  const disk = new MemoryDisk("64KiB", { faults: [{ kind: "error", ops: ["read"], offset: 8192, length: 512 }] });
  await using device = await openDevice("memory:streams", { memory: disk });
  const reader = device.readable({ chunkSize: 4096, depth: 8 }).getReader();
  assert.equal((await reader.read()).value!.length, 4096);
  assert.equal((await reader.read()).value!.length, 4096);
  await assert.rejects(reader.read(), { name: "StorageError", kind: "io" });
  await assert.rejects(reader.closed, { name: "StorageError", kind: "io" });
});

Deno.test("an error behind a writable stream is thrown by the next write or the close", async () => {
  const disk = new MemoryDisk("64KiB", { faults: [{ kind: "error", ops: ["write"], offset: 0, length: 512 }] });
  await using device = await openDevice("memory:streams", { memory: disk });
  const writer = device.writable({ chunkSize: 4096 }).getWriter();
  writer.closed.catch(() => {});
  await assert.rejects(async () => {
    for (let index = 0; index < 8; index++) await writer.write(new Uint8Array(4096));
    await writer.close();
  }, { name: "StorageError", kind: "io" });
});

Deno.test("an aborted writable stream keeps what was written and gives its memory back", async () => {
  await using device = await openDevice("memory:64KiB");
  const writer = device.writable({ chunkSize: 4096, depth: 1 }).getWriter();
  writer.closed.catch(() => {});
  await writer.write(new Uint8Array(4096).fill(9));
  await writer.write(new Uint8Array(10).fill(8));
  await writer.abort();
  const back = new Uint8Array(8192);
  await device.read(back, 0);
  assert.deepEqual([back[0], back[4095], back[4096]], [9, 9, 0]);
});

Deno.test("a chunk whose memory is gone ends a writable stream, and a closed device names the stream", async () => {
  const disk = await openDevice("memory:1MiB");
  const writer = disk.writable().getWriter();
  writer.closed.catch(() => {});
  const chunk = new Uint8Array(10);
  chunk.buffer.transfer();
  await assert.rejects(writer.write(chunk), { name: "TypeError", message: /memory is gone, wanted one that has/ });
  await disk.close();
  assert.throws(() => disk.readable(), /^StorageError: Cannot read a stream of memory:1MiB: BlockDevice is closed/);
  assert.throws(() => disk.writable(), /^StorageError: Cannot write a stream to memory:1MiB: BlockDevice is closed/);
});

Deno.test("a device that is closed under a writable stream is what the stream ends with", async () => {
  for (const end of ["write", "close"] as const) {
    const disk = await openDevice("memory:1MiB");
    const writer = disk.writable().getWriter();
    writer.closed.catch(() => {});
    await writer.write(new Uint8Array(10));
    await disk.close();
    await assert.rejects(end === "write" ? writer.write(new Uint8Array(10)) : writer.close(), {
      kind: "closed",
      message: "Cannot write a stream to memory:1MiB: BlockDevice is closed; wanted an open device",
    });
  }
});
