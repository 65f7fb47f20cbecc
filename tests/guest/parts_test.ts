/** The parts of the rig that need no machine: archives, modules, arguments, errors. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { TempDir } from "../support/temp_file.ts";
import { CpioWriter, readCpio } from "./cpio.ts";
import { deviceArguments, type GuestDevice, pciAddress } from "./devices.ts";
import { GuestError } from "./job.ts";
import { GuestKernel, moduleName } from "./kernel.ts";
import { findLibrary, findProgram, librariesOf } from "./programs.ts";
import { Qmp } from "./qmp.ts";

/** An archive in memory. */
function archive(write: (writer: CpioWriter) => void): Uint8Array {
  const pieces: Uint8Array[] = [];
  write(
    new CpioWriter({
      // A sink may take less than it is given.
      writeSync(bytes) {
        const taken = bytes.slice(0, 1000);
        pieces.push(taken);
        return taken.length;
      },
    }),
  );
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}

const files: [string, Uint8Array][] = [
  ["empty", new Uint8Array(0)],
  ["a/b/c", crypto.getRandomValues(new Uint8Array(4099))],
  ["a/b/name with ü", new Uint8Array([1, 2, 3])],
];

Deno.test("an archive gives back the files that were put in, and folders and links are none", () => {
  const bytes = archive((writer) => {
    for (const [path, content] of files) writer.file(`/${path}`, content);
    writer.folder("/somewhere/else");
    writer.link("/link", "a/b/c");
    writer.end();
  });
  assert.deepEqual([...readCpio(bytes)], files);
});

Deno.test("busybox reads our archives, and we read its own", () => {
  using dir = new TempDir();
  const bytes = archive((writer) => {
    for (const [path, content] of files) writer.file(path, content);
    writer.end();
  });
  Deno.writeFileSync(join(dir.path, "archive"), bytes);
  const script = `cd "$1" && "$2" cpio -i -d <archive && find a empty -type f | "$2" cpio -o -H newc >again`;
  const { success, stderr } = new Deno.Command("sh", {
    args: ["-ec", script, "sh", dir.path, findProgram("busybox")],
  }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
  const again = readCpio(Deno.readFileSync(join(dir.path, "again")));
  assert.deepEqual(new Map(again), new Map(files));
});

Deno.test("an archive that was cut off, or is none, is an error", () => {
  const bytes = archive((writer) => {
    for (const [path, content] of files) writer.file(path, content);
    writer.end();
  });
  assert.throws(() => readCpio(bytes.subarray(0, 2000)), /Cannot read a\/b\/c: expected/);
  assert.throws(() => readCpio(bytes.subarray(0, bytes.length - 200)), /expected/);
  assert.throws(() => readCpio(new Uint8Array(0)), /expected TRAILER/);
  assert.throws(() => readCpio(new Uint8Array(200)), /at byte 0: expected 070701/);
});

/** A kernel package with three modules that need each other in a row, one without neighbours, and a circle. */
function fakeKernel(dir: TempDir): GuestKernel {
  const modules = join(dir.path, "lib/modules/6.9");
  Deno.mkdirSync(join(modules, "kernel"), { recursive: true });
  Deno.mkdirSync(join(dir.path, "boot"));
  Deno.writeTextFileSync(join(dir.path, "boot/vmlinuz-6.9"), "");
  const needs = { top: "mid-dle,built_in", "mid-dle": "low", low: "", single: "", one: "two", two: "one" };
  for (const [name, depends] of Object.entries(needs)) {
    Deno.writeTextFileSync(join(modules, `kernel/${name}.ko`), `ELF\0license=GPL\0depends=${depends}\0name=x\0`);
  }
  Deno.writeTextFileSync(join(modules, "kernel/packed.ko"), "no section");
  const order = [...Object.keys(needs), "packed"].map((name) => `kernel/${name}.ko\n`).join("");
  Deno.writeTextFileSync(join(modules, "modules.order"), order);
  Deno.writeTextFileSync(join(modules, "modules.builtin"), "kernel/built-in.ko\n");
  return new GuestKernel(dir.path);
}

Deno.test("modules are loaded after those they need, each once, and built-in ones not at all", () => {
  using dir = new TempDir();
  const load = (...names: string[]) => fakeKernel(dir).modules(names).map(moduleName);
  assert.deepEqual(load("top", "low", "single", "mid_dle", "built-in"), ["low", "mid_dle", "top", "single"]);
});

Deno.test("an unknown module, a circle and a compressed module are errors that name it", () => {
  using dir = new TempDir();
  const kernel = fakeKernel(dir);
  assert.throws(() => kernel.modules(["nothing"]), /Cannot load nothing: expected a module of Linux 6\.9/);
  assert.throws(() => kernel.modules(["one"]), /expected no circle/);
  assert.throws(() => kernel.modules(["packed"]), /packed\.ko: expected an uncompressed kernel module/);
});

Deno.test("a folder with no kernel, or with two, is an error", () => {
  using dir = new TempDir();
  Deno.mkdirSync(join(dir.path, "boot"));
  assert.throws(() => new GuestKernel(dir.path), /expected one image, found none/);
  for (const release of ["1", "2"]) Deno.writeTextFileSync(join(dir.path, `boot/vmlinuz-${release}`), "");
  assert.throws(() => new GuestKernel(dir.path), /expected one image, found vmlinuz-\d vmlinuz-\d/);
});

Deno.test("a program comes with its libraries, a static one and a script with the loader alone", () => {
  using dir = new TempDir();
  const script = join(dir.path, "script");
  Deno.writeTextFileSync(script, "#!/bin/sh\n");
  const loader = "ld-linux-x86-64.so.2";
  assert.ok(librariesOf([Deno.execPath()]).has("libc.so.6"));
  assert.ok(librariesOf([findLibrary("liburing.so.2")]).has("libc.so.6"));
  assert.deepEqual([...librariesOf([script]).keys()], [loader]);
  assert.throws(() => findProgram("no-such-program"), /Cannot copy no-such-program to the guest/);
  assert.throws(() => findLibrary("libnothing.so.9"), /Cannot copy libnothing\.so\.9 to the guest/);
});

Deno.test("each kind of disk becomes arguments, with commas in names doubled", () => {
  const devices: GuestDevice[] = [
    { kind: "nvme", mdts: 5, queuePairs: 2, namespaces: [{ image: "a,b" }, { image: "c", blockBytes: 4096 }] },
    { kind: "virtio-blk", image: "d", queues: 2, readOnly: true, pluggable: true },
    { kind: "vhost-user-blk", socket: "/s", queues: 1, reconnectS: 1 },
    { kind: "virtio-scsi", disks: [{ image: "e" }, { image: "f,g", target: 3, lun: 300, serial: "x,y" }], queues: 2 },
    { kind: "vhost-user-scsi", socket: "/t", queues: 4, pluggable: true },
  ];
  const text = deviceArguments(devices).join(" ");
  assert.match(text, /nvme,id=device0,bus=pcie\.0,addr=0x10,serial=device0,mdts=5,max_ioqpairs=2 /);
  assert.match(text, /file\.filename=a,,b /);
  assert.match(text, /nvme-ns,bus=device0,drive=device0-image2,nsid=2,logical_block_size=4096/);
  assert.match(text, /virtio-blk-pci,id=device1,bus=port1,drive=device1-image,num-queues=2/);
  assert.match(text, /read-only=on/);
  assert.match(text, /socket,id=device2-socket,path=\/s,reconnect=1 -device vhost-user-blk-pci/);
  assert.match(text, /virtio-scsi-pci,id=device3,bus=pcie\.0,addr=0x13,num_queues=2 /);
  assert.match(text, /scsi-hd,bus=device3\.0,scsi-id=0,lun=0,drive=device3-image0 /);
  assert.match(text, /filename=f,,g -device scsi-hd,bus=device3\.0,scsi-id=3,lun=300,drive=device3-image1,serial=x,,y/);
  assert.match(
    text,
    /socket,id=device4-socket,path=\/t -device vhost-user-scsi-pci,id=device4,bus=port4,.*num_queues=4/,
  );
  const addresses = devices.map((_, index) => pciAddress(devices, index));
  assert.deepEqual(addresses, ["0000:00:10.0", "0000:01:00.0", "0000:00:12.0", "0000:00:13.0", "0000:02:00.0"]);
  assert.throws(() => deviceArguments(Array(14).fill(devices[0]!)), /expected 13 at most/);
});

Deno.test("an error carries the last lines of what the guest said, and leaves out what is empty", () => {
  const console = Array.from({ length: 100 }, (_, line) => `line ${line}\r\n`).join("");
  const error = new GuestError("died", "Cannot go on", { console, stdout: "", stderr: "alas\n" });
  assert.match(error.message, /^Cannot go on\n--- console, the last lines\nline 60\n[^]*line 99\n--- standard error/);
  assert.ok(error.message.endsWith("alas"));
  assert.ok(!error.message.includes("standard output"));
});

/** A channel whose other end the test plays. */
function fakeQmp() {
  const sent: string[] = [];
  const decoder = new TextDecoder();
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const answers = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
  const commands = new WritableStream<Uint8Array>({ write: (bytes) => void sent.push(decoder.decode(bytes)) });
  const say = (text: string) => controller.enqueue(new TextEncoder().encode(text));
  return { qmp: new Qmp(commands, answers), sent, say, close: () => controller.close() };
}

Deno.test("QMP: answers go to their commands in order, over cut lines, and events to who waits", async () => {
  const { qmp, sent, say, close } = fakeQmp();
  const first = qmp.execute("query-status");
  const second = qmp.execute("device_del", { id: "x" });
  const event = qmp.event("DEVICE_DELETED");
  say(`{"QMP":{}}\n{"return":{}}\n{"return":{"running":tr`);
  say(`ue}}\n{"event":"STOP"}\n{"event":"DEVICE_DELETED","data":{"device":"x"}}\n`);
  say(`{"error":{"class":"DeviceNotFound","desc":"Device 'x' not found"}}\n`);
  assert.deepEqual(await first, { running: true });
  await assert.rejects(second, /Cannot device_del: Device 'x' not found/);
  assert.deepEqual((await event).data, { device: "x" });
  assert.equal((await qmp.event("STOP")).event, "STOP");
  assert.deepEqual(sent.map((line) => JSON.parse(line).execute), ["qmp_capabilities", "query-status", "device_del"]);
  close();
  await qmp.closed;
});

Deno.test("QMP: when QEMU ends, a caller that waits or comes later is told", async () => {
  const { qmp, close } = fakeQmp();
  const waiting = [qmp.execute("stop"), qmp.event("SHUTDOWN")];
  close();
  for (const promise of waiting) await assert.rejects(promise, /expected a running QEMU, but it ended/);
  await assert.rejects(qmp.execute("stop"), /expected a running QEMU/);
  await assert.rejects(qmp.event("SHUTDOWN"), /expected a running QEMU/);
});
