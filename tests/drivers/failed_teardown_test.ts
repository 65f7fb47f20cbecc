/** Teardowns and openings in which a call fails: the rest is given back all the same, and the failure is told once. */
import assert from "node:assert/strict";
import { StorageError } from "../../core/base/errors.ts";
import { loadLibrary } from "../../ffi/loader.ts";
import { LIBC, LIBC_SYMBOLS } from "../../ffi/libc/symbols.ts";
import { listFolder } from "../../ffi/libc/mod.ts";
import { LIBAIO, LIBAIO_SYMBOLS } from "../../ffi/libaio/symbols.ts";
import { LIBBLKIO, LIBBLKIO_SYMBOLS } from "../../ffi/libblkio/symbols.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../../ffi/liburing/symbols.ts";
import { readSystemFile } from "../../ffi/sysfs.ts";
import { closeIdleQueues, type DeviceOptions, openDevice } from "../../mod.ts";
import { hasLibblkio } from "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";

const ENOMEM = 12;

/** What this process has open and mapped that is the drivers' own. */
function held(path: string): Record<string, number> {
  const maps = readSystemFile("/proc/self/maps")?.split("\n") ?? [];
  const count = (name: string) => maps.filter((line) => line.includes(name)).length;
  return {
    descriptors: listFolder("/proc/self/fd", 10_000).length,
    rings: count("anon_inode:[io_uring]"),
    contexts: count("/[aio]"),
    files: count(path),
  };
}

/** Waits until what is held is as it was: descriptors of the event loop close a turn later, a queue may be kept for a while. */
async function assertGivenBack(before: Record<string, number>, path: string): Promise<void> {
  for (let look = 0; look < 200 && JSON.stringify(held(path)) !== JSON.stringify(before); look++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(held(path), before);
}

/** Lets calls of a library fail for as long as the result lives: those for which `fails` says so. */
function failing<Table extends object>(
  symbols: Table,
  name: keyof Table,
  fails: (...args: never[]) => boolean,
  answer: unknown = -ENOMEM,
): Disposable & { readonly hits: () => number } {
  const real = symbols[name] as (...args: unknown[]) => unknown;
  let hits = 0;
  const fake = (...args: unknown[]) => {
    if (!(fails as (...args: unknown[]) => boolean)(...args)) return real(...args);
    hits++;
    return answer;
  };
  symbols[name] = fake as Table[keyof Table];
  return {
    hits: () => hits,
    [Symbol.dispose]: () => void (symbols[name] = real as Table[keyof Table]),
  };
}

async function use(path: string, options: DeviceOptions): Promise<() => Promise<void>> {
  const disk = await openDevice(path, options);
  const [buffer] = disk.allocate(1, 65_536);
  // Long enough for a file to be registered, where that is not done at once.
  for (let index = 0; index < 1_100; index++) await disk.read(buffer!, 0);
  await disk.read(new Uint8Array(4096), 0);
  return () => disk.close();
}

const uring = () => loadLibrary(LIBURING, LIBURING_SYMBOLS).symbols;

const TEARDOWNS = {
  "io_uring: a file that the ring does not let go of": {
    driver: "io_uring",
    fail: () =>
      failing(
        uring(),
        "io_uring_register_files_update",
        (_ring: Uint8Array, _at: number, files: Uint8Array) => new Int32Array(files.buffer, files.byteOffset)[0] === -1,
      ),
  },
  "io_uring: memory that the ring does not let go of": {
    driver: "io_uring",
    fail: () =>
      failing(
        uring(),
        "io_uring_register_buffers_update_tag",
        (_ring: Uint8Array, _at: number, iovec: Uint8Array) => new Int32Array(iovec.buffer, iovec.byteOffset)[2] === 0,
      ),
  },
} as const;

for (const [name, { driver, fail }] of Object.entries(TEARDOWNS)) {
  Deno.test(`${name} fails the close, and all else is given back`, async () => {
    using dir = new TempDir();
    const path = dir.file("data.bin", 1 << 20);
    const before = held(path);
    for (let round = 0; round < 3; round++) {
      const close = await use(path, { driver, direct: true });
      using failure = fail();
      await assert.rejects(close(), (error) => error instanceof StorageError && error.errno === ENOMEM);
      assert.ok(failure.hits() > 0);
    }
    await assertGivenBack(before, path);
  });
}

const OPENINGS = {
  "io_uring: no ring": ["io_uring", () => failing(uring(), "io_uring_queue_init_params", () => true)],
  "io_uring: no eventfd of the ring": ["io_uring", () => failing(uring(), "io_uring_register_eventfd", () => true)],
  "linux_aio: no context": [
    "linux_aio",
    () => failing(loadLibrary(LIBAIO, LIBAIO_SYMBOLS).symbols, "io_setup", () => true),
  ],
  "linux_aio: no timer": [
    "linux_aio",
    () => failing(loadLibrary(LIBC, LIBC_SYMBOLS).symbols, "timerfd_create", () => true, -1),
  ],
  "blkio: a descriptor that is refused": [
    "blkio",
    () =>
      failing(
        loadLibrary(LIBBLKIO, LIBBLKIO_SYMBOLS).symbols,
        "blkio_set_str",
        (_blkio: unknown, name: Uint8Array) => new TextDecoder().decode(name) === "fd\0",
      ),
  ],
  "blkio: no connection": [
    "blkio",
    () => failing(loadLibrary(LIBBLKIO, LIBBLKIO_SYMBOLS).symbols, "blkio_connect", () => true),
  ],
  "blkio: no start": [
    "blkio",
    () => failing(loadLibrary(LIBBLKIO, LIBBLKIO_SYMBOLS).symbols, "blkio_start", () => true),
  ],
} as const;

for (const [name, [driver, fail]] of Object.entries(OPENINGS)) {
  testWhen(
    driver === "blkio" ? hasLibblkio() : true,
    `an open that fails half-way leaves nothing behind (${name})`,
    async () => {
      using dir = new TempDir();
      const path = dir.file("data.bin", 1 << 20);
      const target = driver === "blkio" ? `blkio:io_uring:${path}` : path;
      // Options of its own: a queue that is kept from before would be used instead of a new one.
      const options = { driver, queueDepth: 61 };
      await closeIdleQueues();
      const before = held(path);
      for (let round = 0; round < 3; round++) {
        using failure = fail();
        await assert.rejects(openDevice(target, options), StorageError);
        assert.ok(failure.hits() > 0);
      }
      await assertGivenBack(before, path);
      await (await openDevice(target, options)).close();
    },
  );
}
