/** The C helper of the NVMe driver: built clean, and driven through a made-up kernel under sanitizers. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { StorageError } from "../../core/base/errors.ts";
import { NATIVE_FLAGS, nativeFileName } from "../../ffi/native.ts";
import { loadLibrary } from "../../ffi/loader.ts";
import { VfioController } from "../../ffi/vfio_nvme/mod.ts";
import { VFIO_NVME_SYMBOLS, vfioNvmeLibrary } from "../../ffi/vfio_nvme/symbols.ts";
import { buildNative } from "../../tools/build_nvme.ts";
import { isOnPath } from "../../tools/setup/present.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";

const HERE = fileURLToPath(new URL("vfio_nvme/", import.meta.url));
const SOURCES = fileURLToPath(new URL("../../ffi/vfio_nvme/", import.meta.url));
const env = (name: string) => Deno.env.get(name);

const HAS_CC = isOnPath("cc", env) || "there is no C compiler (cc)";
// Opened before the first test: it stays open for the life of the Worker.
if (HAS_CC === true && "path" in await buildNative("vfio_nvme")) loadLibrary(vfioNvmeLibrary(), VFIO_NVME_SYMBOLS);

/** Functions of libc that the made-up kernel takes the place of. */
const WRAPPED = ["open", "close", "access", "readlink", "ioctl", "mmap", "pread", "pwrite"];

/** Compilers whose sanitizers are run. */
for (const name of ["cc", "clang"]) {
  const ready = isOnPath(name, env) || `${name} is not installed`;
  const title = `the helper under ${name}'s sanitizers: bounds, failing calls, ended threads, bent answers`;
  testWhen(ready, title, () => {
    using dir = new TempDir();
    const program = join(dir.path, "fake_kernel");
    const flags = NATIVE_FLAGS.filter((flag) => !["-shared", "-fPIC", "-O2"].includes(flag));
    const compiled = new Deno.Command(name, {
      args: [
        ...flags,
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        `-I${SOURCES}`,
        ...WRAPPED.map((symbol) => `-Wl,--wrap=${symbol}`),
        ...["-o", program, join(HERE, "fake_kernel.c"), join(SOURCES, "vfio_nvme.c")],
      ],
    }).outputSync();
    assert.ok(compiled.success, new TextDecoder().decode(compiled.stderr));
    const ran = new Deno.Command(program).outputSync();
    const decoder = new TextDecoder();
    assert.ok(ran.success, decoder.decode(ran.stdout) + decoder.decode(ran.stderr));
    assert.match(decoder.decode(ran.stdout), /^9 tests passed$/m);
  });
}

testWhen(
  HAS_CC,
  "the helper builds without a warning, once for its sources",
  async () => {
    using dir = new TempDir();
    const first = await buildNative("vfio_nvme", dir.path);
    assert.deepEqual(first, { path: join(dir.path, "lib", nativeFileName("vfio_nvme")!) });
    const { mtime } = Deno.statSync((first as { path: string }).path);
    await buildNative("vfio_nvme", dir.path);
    assert.deepEqual(Deno.statSync((first as { path: string }).path).mtime, mtime);
    assert.deepEqual([...Deno.readDirSync(join(dir.path, "lib"))].length, 1);
  },
);

Deno.test("without a compiler the error names its packages, and nothing is left behind", async () => {
  using dir = new TempDir();
  const path = Deno.env.get("PATH") ?? "";
  Deno.env.set("PATH", dir.path);
  try {
    const outcome = await buildNative("vfio_nvme", dir.path);
    assert.match(
      "failure" in outcome ? outcome.failure : "",
      /no C compiler \(cc\); wanted the packages gcc libc6-dev/,
    );
  } finally {
    Deno.env.set("PATH", path);
  }
  assert.deepEqual([...Deno.readDirSync(join(dir.path, "lib"))], []);
});

testWhen(
  HAS_CC,
  "a device that is not there is an error that names step and address",
  () => {
    assert.throws(() => new VfioController("ffff:ff:1f.7"), (error) => {
      assert.ok(error instanceof StorageError);
      assert.deepEqual([error.kind, error.errnoName, error.target], ["open", "ENODEV", "ffff:ff:1f.7"]);
      assert.match(error.message, /there is no such PCI device/);
      return true;
    });
  },
);
