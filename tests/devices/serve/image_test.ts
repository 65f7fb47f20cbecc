/** Which images are served: those that no other program has locked as QEMU does, and that are raw. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { imageFormat } from "../../../devices/serve/image_format.ts";
import { type ServeBlkOptions, serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { type DeviceOptions, openDevice } from "../../../mod.ts";
import { until } from "../vhost_user/rig.ts";
import { guestReady } from "../../guest/ready.ts";
import { closeFile, openFile } from "../../../ffi/libc/mod.ts";
import { lockHolders } from "../../../ffi/file_lock.ts";
import { LoopDevice, loopDevices } from "../../support/loop_device.ts";
import { testWhen } from "../../support/skip.ts";
import { hasStorageDaemon, StorageDaemon } from "../../support/storage_daemon.ts";
import { TempDir } from "../../support/temp_file.ts";

/** True, or the reason why QEMU's tools cannot be run. */
function hasQemuTools(): true | string {
  try {
    return new Deno.Command("qemu-io", { args: ["--version"], stdout: "null" }).outputSync().success ||
      "qemu-io does not run";
  } catch {
    return "there is no qemu-io (package qemu-utils)";
  }
}

const HAS_QEMU = hasStorageDaemon() === true ? hasQemuTools() : hasStorageDaemon();

/** True, or the reason why no virtual machine can be started, not even one that does not run. */
const HAS_MACHINE = guestReady();

/** Runs one of QEMU's tools; returns whether it succeeded, and what it said. */
function qemu(program: string, ...args: string[]): { readonly success: boolean; readonly said: string } {
  const { success, stdout, stderr } = new Deno.Command(program, { args, stdin: "null" }).outputSync();
  return { success, said: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

const writes = (path: string) => qemu("qemu-io", "-f", "raw", "-c", "write 0 512", path);
const reads = (path: string) => qemu("qemu-io", "-f", "raw", "-r", "-c", "read 0 512", path);

/** A file that is served in this process until it is disposed of. */
async function serve(path: string, open: DeviceOptions = {}, options: ServeBlkOptions = {}): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(new TempDir());
  const device = stack.use(await openDevice(path, open));
  stack.use(serveVhostUserBlk(device, join(dir.path, "s"), options));
  return stack.move();
}

/** Asserts that it cannot be served, and why. */
async function refused(path: string, why: RegExp, open: DeviceOptions = {}, options: ServeBlkOptions = {}) {
  await assert.rejects(() => serve(path, open, options), (error: Error) => {
    assert.match(error.message, why);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  });
}

testWhen(HAS_QEMU, "an image that qemu-storage-daemon writes to is not served, and the daemon is named", async () => {
  using dir = new TempDir();
  const image = dir.file("image", 1 << 20);
  await using daemon = await StorageDaemon.start(image);
  const named = new RegExp(
    `^Cannot serve .*: qemu-storage-daemon \\(process ${daemon.pid}\\) writes to it; wanted`,
  );
  await refused(image, named);
  await refused(image, named, { readOnly: true });
  const link = join(dir.path, "link");
  Deno.linkSync(image, link);
  await refused(link, named);
  Deno.symlinkSync(image, join(dir.path, "symlink"));
  await refused(join(dir.path, "symlink"), named);
  await using _meant = await serve(image, {}, { lock: false });
});

testWhen(HAS_QEMU, "QEMU's tools do not write to an image that is served, and may read it", async () => {
  using dir = new TempDir();
  const image = dir.file("image", 1 << 20);
  {
    await using _served = await serve(image);
    assert.match(writes(image).said, /Failed to get "write" lock/);
    assert.ok(reads(image).success);
    assert.match(qemu("qemu-img", "resize", "-f", "raw", image, "2M").said, /Failed to get "write" lock/);
    await assert.rejects(StorageDaemon.start(image), /it ended/);
  }
  assert.ok(writes(image).success);
  {
    await using _served = await serve(image, { readOnly: true });
    assert.match(writes(image).said, /Failed to get "write" lock/);
    assert.ok(reads(image).success);
    await using _daemon = await StorageDaemon.start(image, { writable: false });
  }
  await using _served = await serve(image, {}, { lock: false });
  assert.ok(writes(image).success);
});

testWhen(
  HAS_MACHINE,
  "the disk of a virtual machine that QEMU runs is not served, and the machine is named",
  async () => {
    using dir = new TempDir();
    const image = dir.file("image", 1 << 20);
    using stack = new DisposableStack();
    const fd = stack.adopt(openFile(image, 0), (each) => closeFile(each, image));
    const machine = (readonly: "on" | "off") =>
      new Deno.Command("qemu-system-x86_64", {
        args: [
          ...["-M", "microvm,accel=tcg", "-S", "-m", "16", "-nodefaults", "-display", "none"],
          ...[
            "-drive",
            `file=${image},format=raw,if=none,id=d,readonly=${readonly}`,
            "-device",
            "virtio-blk-device,drive=d",
          ],
        ],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
    for (const readonly of ["on", "off"] as const) {
      const child = machine(readonly);
      try {
        await until(() => lockHolders(fd, 201).length > 0, "the machine has its locks");
        const verb = readonly === "on" ? "lets no other program write" : "writes";
        await refused(image, new RegExp(`qemu-system-x86_64 \\(process ${child.pid}\\) ${verb} to it`));
        if (readonly === "off") await refused(image, /writes to it/, { readOnly: true });
        else await (await serve(image, { readOnly: true }))[Symbol.asyncDispose]();
      } finally {
        child.kill("SIGKILL");
        await child.status;
      }
    }
    await using _served = await serve(image);
    assert.equal((await machine("off").status).code, 1);
  },
);

Deno.test("of two servers of one file the second is refused, unless both only read", async () => {
  using dir = new TempDir();
  const image = dir.file("image", 1 << 20);
  const link = join(dir.path, "link");
  Deno.linkSync(image, link);
  {
    await using _first = await serve(image);
    const busy = new RegExp(`another server of this process \\(${Deno.pid}\\) writes to it`);
    await refused(image, busy);
    await refused(link, busy);
    await refused(image, busy, { readOnly: true });
    await refused(image, busy, { driver: "linux_aio" });
    await using _meant = await serve(image, {}, { lock: false });
  }
  {
    await using _first = await serve(image, { readOnly: true });
    await refused(image, /another server of this process .* lets no other program write to it/);
    await using _second = await serve(link, { readOnly: true });
  }
  await using _after = await serve(image);
});

Deno.test("servers of one device share its locks until the last of them is closed", async () => {
  using dir = new TempDir();
  const image = dir.file("image", 1 << 20);
  await using device = await openDevice(image);
  const first = serveVhostUserBlk(device, join(dir.path, "1"));
  const second = serveVhostUserBlk(device, join(dir.path, "2"));
  await first.close();
  await first.close();
  await refused(image, /another server/);
  await second.close();
  await using _after = await serve(image);
});

testWhen(
  HAS_QEMU === true ? loopDevices() : HAS_QEMU,
  "a block device is locked as a file is",
  async () => {
    using loop = new LoopDevice();
    {
      await using _served = await serve(loop.path);
      assert.match(qemu("qemu-io", "-f", "raw", "-c", "write 0 512", loop.path).said, /Failed to get "write" lock/);
      await refused(loop.path, /another server/);
    }
    const node = { driver: "host_device", filename: loop.path };
    await using _daemon = await StorageDaemon.start(node);
    await refused(loop.path, /qemu-storage-daemon/);
  },
);

testWhen(
  HAS_QEMU,
  "an image that is not raw is refused by its format, and served as it is where that is meant",
  async () => {
    using dir = new TempDir();
    for (
      const [format, name, ...options] of [
        ["qcow2", "qcow2"],
        ["qcow", "qcow"],
        ["qed", "qed"],
        ["vdi", "vdi"],
        ["vhdx", "vhdx"],
        ["vmdk", "vmdk"],
        ["vmdk", "vmdk", "-o", "subformat=monolithicFlat"],
        ["vpc", "vhd"],
        ["vpc", "vhd", "-o", "subformat=fixed"],
        ["parallels", "parallels"],
      ] as const
    ) {
      const image = join(dir.path, `${format}${options.length}`);
      assert.ok(qemu("qemu-img", "create", "-f", format, ...options, image, "4M").success, format);
      await refused(image, new RegExp(`^Cannot serve .*: it is a ${name} image, .*wanted a raw image .*--format raw`));
      await refused(image, new RegExp(`it is a ${name} image`), { readOnly: true }, { lock: false });
      await using _meant = await serve(image, {}, { format: "raw" });
    }
  },
);

Deno.test("what a raw disk may well begin with is served", async () => {
  using dir = new TempDir();
  const heads = ["", "LUKS\xba\xbe\0\x01", "QFI", "conect", "\xeb\x3c\x90"];
  for (const [index, head] of heads.entries()) {
    const bytes = new Uint8Array(8192);
    bytes.set(Array.from(head, (char) => char.charCodeAt(0)));
    const path = join(dir.path, `${index}`);
    Deno.writeFileSync(path, bytes);
    await using _served = await serve(path);
  }
  const short = join(dir.path, "short");
  Deno.writeFileSync(short, new Uint8Array(512));
  await using _served = await serve(short);
  // A partition table's last sector, and one that only begins as a footer does.
  const tail = new Uint8Array(512);
  tail.set(new TextEncoder().encode("conectix"));
  assert.equal(imageFormat(new Uint8Array(512), tail), null);
});
