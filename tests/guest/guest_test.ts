/** The rig itself: what a guest hands back, how it fails, and that its disks are what was asked for. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readSystemFile } from "../../ffi/sysfs.ts";
import { readCounts } from "../../tools/run_tests.ts";
import "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import {
  deviceId,
  Guest,
  type GuestDevice,
  GuestError,
  guestReady,
  hostProgram,
  pciAddress,
  runContest,
  runGuest,
  runGuestDespiteCrash,
  scriptCommand,
  shellWords,
  testCommand,
} from "./mod.ts";

const READY = guestReady();
const DISK_BYTES = 16 << 20;

/** Lines `name=value` of a text. */
function values(text: string): Record<string, string> {
  return Object.fromEntries(text.trim().split("\n").map((line) => line.split("=", 2).map((word) => word.trim())));
}

function sha256(path: string): string {
  return createHash("sha256").update(Deno.readFileSync(path)).digest("hex");
}

async function failure(promise: Promise<unknown>): Promise<GuestError> {
  const error = await promise.then(() => null, (reason) => reason);
  assert.ok(error instanceof GuestError, `expected a GuestError, got ${error}`);
  return error;
}

testWhen(READY, "a command's exit code, output and files come back", async () => {
  const { code, stdout, stderr, files, console } = await runGuest({
    command: [
      "sh",
      "-c",
      `cat /in/text; echo "$WORD" >&2; mkdir /out; cp /in/bytes /out/copy; pwd; b2sum </dev/null; exit 3`,
    ],
    programs: ["b2sum"],
    project: false,
    cwd: "/in",
    env: { WORD: "it's $HOME" },
    files: { "/in/text": "hello\n", "/in/bytes": new Uint8Array([0, 255, 10]) },
    collect: ["/out", "/not/there"],
  });
  assert.deepEqual([code, stderr], [3, "it's $HOME\n"]);
  const hashOfNothing = createHash("blake2b512").digest("hex");
  assert.equal(stdout, `hello\n/in\n${hashOfNothing}  -\n`);
  assert.deepEqual([...files], [["/out/copy", new Uint8Array([0, 255, 10])]]);
  assert.match(console, /guest: the command ended with 3/);
});

testWhen(READY, "a panic is an error with the console's last words", async () => {
  const command = ["sh", "-c", "echo before; echo c >/proc/sysrq-trigger; sleep 3600"];
  const error = await failure(runGuest({ command, project: false }));
  assert.equal(error.kind, "died");
  assert.match(
    error.message,
    /the machine ended before its command \(Kernel panic - not syncing: sysrq triggered crash/,
  );
  assert.match(error.message, /console, the last lines\n[^]*sysrq_handle_crash/);
  assert.match(error.message, /standard output, the last lines\nbefore/);
});

testWhen(READY, "a guest that hangs is killed after its time, and leaves no process", async () => {
  await using guest = await Guest.start({ command: ["sleep", "3600"], project: false, timeoutMs: 3000 });
  const error = await failure(guest.finished());
  assert.equal(error.kind, "timeout");
  assert.match(error.message, /Cannot wait longer than 3000 ms for the guest/);
  assert.throws(() => Deno.kill(guest.pid, "SIGCONT"), Deno.errors.NotFound);
});

testWhen(READY, "a guest that is disposed of before its end says so to who waits for it", async () => {
  const guest = await Guest.start({ command: ["sleep", "3600"], project: false });
  const end = failure(guest.finished());
  const output = failure(guest.until(/never/));
  await guest[Symbol.asyncDispose]();
  assert.deepEqual([(await end).kind, (await output).kind], ["killed", "killed"]);
  assert.ok(!isAlive(guest.pid));
});

testWhen(READY, "what QEMU refuses is an error with its words", async () => {
  const missing: GuestDevice = { kind: "virtio-blk", image: "/no/such/image" };
  const error = await failure(runGuest({ command: ["true"], project: false, devices: [missing] }));
  assert.equal(error.kind, "died");
  assert.match(error.message, /Could not open '\/no\/such\/image'/);
});

testWhen(READY, "a QEMU that a signal ends is an error of its own kind, with the signal's name", async () => {
  await using guest = await Guest.start({ command: ["sh", "-c", "echo before; sleep 3600"], project: false });
  await guest.until(/before/);
  Deno.kill(guest.pid, "SIGSEGV");
  const error = await failure(guest.finished());
  assert.equal(error.kind, "crashed");
  assert.match(error.message, /QEMU itself ended by SIGSEGV[^]*standard output, the last lines\nbefore/);
});

/** Runs through these ends, one each time that a guest is started; says how often one was. */
async function endsOf(...ends: readonly ("crashed" | "died" | "timeout" | "result")[]): Promise<[string, number]> {
  const result = { code: 1, stdout: "", stderr: "", console: "", files: new Map(), elapsedMs: 0 };
  let starts = 0;
  const end = await runGuestDespiteCrash(() => {
    const kind = ends[starts++]!;
    if (kind === "result") return Promise.resolve(result);
    return Promise.reject(new GuestError(kind, "made up", { console: "", stdout: "", stderr: "" }));
  }).then(() => "result", (error: GuestError) => error.kind);
  return [end, starts];
}

Deno.test("a guest whose QEMU crashed is started once more; a command that failed, a panic, a hang are not", async () => {
  assert.deepEqual(await endsOf("crashed", "result"), ["result", 2]);
  assert.deepEqual(await endsOf("crashed", "crashed", "result"), ["crashed", 2]);
  assert.deepEqual(await endsOf("crashed", "died"), ["died", 2]);
  assert.deepEqual(await endsOf("died", "result"), ["died", 1]);
  assert.deepEqual(await endsOf("timeout", "result"), ["timeout", 1]);
  assert.deepEqual(await endsOf("result", "crashed"), ["result", 1]);
});

testWhen(READY, "what the guest cannot get is refused before it starts", async () => {
  const start = (job: object) => Guest.start({ command: ["true"], project: false, ...job });
  await assert.rejects(start({ modules: ["no_such_module"] }), /Cannot load no_such_module/);
  await assert.rejects(start({ programs: ["no-such-program"] }), /Cannot copy no-such-program/);
  await assert.rejects(start({ libraries: ["libnothing.so.1"] }), /Cannot copy libnothing/);
});

testWhen(READY, "a test process that is killed takes its guest along", async () => {
  // No other code removes what it leaves.
  using dir = new TempDir();
  const child = new Deno.Command(Deno.execPath(), {
    env: { TMPDIR: dir.path },
    args: ["run", "-q", "-P=test", fileURLToPath(new URL("children/orphan.ts", import.meta.url))],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const pid = Number((await reader.read()).value);
  assert.ok(pid > 0 && isAlive(pid), "the guest did not start");
  child.kill("SIGKILL");
  await child.status;
  for (let turn = 0; turn < 500 && isAlive(pid); turn++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(!isAlive(pid), "QEMU outlived the process that started it");
  await reader.cancel();
});

/** A process that ended but whose parent has not waited for it is dead, too. */
function isAlive(pid: number): boolean {
  const state = /^State:\s+(\S)/m.exec(readSystemFile(`/proc/${pid}/status`) ?? "")?.[1];
  return state !== undefined && !"ZX".includes(state);
}

testWhen(READY, "a disk is unplugged from a running guest, and waiting for output ends with the command", async () => {
  using dir = new TempDir();
  const image = dir.sparse("disk.img", DISK_BYTES);
  const devices: GuestDevice[] = [{ kind: "nvme", namespaces: [{ image }], pluggable: true }];
  const script = `cat /sys/class/nvme/nvme0/address; while [ -e /sys/class/nvme/nvme0 ]; do sleep 0.1; done; echo gone`;
  await using guest = await Guest.start({ command: ["sh", "-c", script], project: false, devices });
  await guest.until(/0000/);
  await guest.qmp.execute("device_del", { id: deviceId(0) });
  // Its controller first leaves, then its namespaces: QEMU reports both.
  await guest.qmp.event("DEVICE_DELETED");
  await assert.rejects(guest.until(/never/), /Cannot find \/never\/ in the output of the guest: its command ended/);
  const { code, stdout } = await guest.finished();
  assert.deepEqual([code, stdout], [0, `${pciAddress(devices, 0)}\ngone\n`]);
});

testWhen(READY, "a disk that another process serves over vhost-user works in the guest", async () => {
  using dir = new TempDir();
  const image = dir.sparse("disk.img", DISK_BYTES);
  const socket = join(dir.path, "disk.sock");
  const server = new Deno.Command("setpriv", {
    args: [
      ...["--pdeathsig", "KILL", hostProgram("qemu-storage-daemon")],
      ...["--blockdev", `driver=file,node-name=disk,filename=${image}`],
      ...[
        "--export",
        `vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=2,addr.type=unix,addr.path=${socket}`,
      ],
    ],
    stdin: "null",
  }).spawn();
  try {
    while (![...Deno.readDirSync(dir.path)].some(({ name }) => name === "disk.sock")) {
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 10)), serverEnd(server)]);
    }
    const script = `dd if=/dev/urandom of=/dev/vda bs=64k count=16 2>/dev/null; sync
      echo 3 >/proc/sys/vm/drop_caches; sha256sum /dev/vda | cut -d ' ' -f 1; ls /sys/block/vda/mq | wc -l`;
    const { code, stdout } = await runGuest({
      command: ["sh", "-ec", script],
      project: false,
      devices: [{ kind: "vhost-user-blk", socket, queues: 2 }],
    });
    assert.deepEqual([code, stdout], [0, `${sha256(image)}\n2\n`]);
  } finally {
    server.kill("SIGKILL");
    await server.status;
  }
});

/** Rejects when the server ends. */
async function serverEnd(server: Deno.ChildProcess): Promise<never> {
  const { code } = await server.status;
  throw new Error(`Cannot wait for the socket: the server ended with ${code}`);
}

const DISKS_SCRIPT = `
say() { echo "$1=$(cat "$2" | tr -d ' ')"; }
for disk in nvme0n1 nvme0n2 vda nullb0; do
  say $disk.block /sys/block/$disk/queue/logical_block_size
  say $disk.sectors /sys/block/$disk/size
done
say nvme0n1.max_kib /sys/block/nvme0n1/queue/max_hw_sectors_kb
say nvme0.queues /sys/class/nvme/nvme0/queue_count
say nvme0.serial /sys/class/nvme/nvme0/serial
say nvme0.address /sys/class/nvme/nvme0/address
say vda.readonly /sys/block/vda/ro
echo "iommu=$(ls /sys/class/iommu | wc -l)"
echo "cpus=$(nproc)"
echo "word=$(grep -o plugio_word /proc/cmdline)"
dd if=/dev/urandom of=/dev/nvme0n1 bs=64k count=16 2>/dev/null
dd if=/dev/urandom of=/dev/nvme0n2 bs=64k seek=3 count=16 2>/dev/null
sync
for disk in nvme0n1 nvme0n2; do echo "$disk.sha256=$(sha256sum /dev/$disk | cut -d ' ' -f 1)"; done
`;

testWhen(READY, "the guest's kernel sees the disks as they were asked for, and the host what it wrote", async () => {
  using dir = new TempDir();
  const [first, second, third] = ["a", "b,c", "d"].map((name) => dir.sparse(name, DISK_BYTES)) as [
    string,
    string,
    string,
  ];
  const devices: GuestDevice[] = [
    {
      kind: "nvme",
      serial: "PLUGIO0",
      mdts: 5,
      queuePairs: 1,
      namespaces: [{ image: first }, { image: second, blockBytes: 4096 }],
    },
    { kind: "virtio-blk", image: third, readOnly: true },
  ];
  const { code, stdout, stderr } = await runGuest({
    command: ["sh", "-ec", DISKS_SCRIPT],
    project: false,
    devices,
    iommu: true,
    modules: ["null_blk nr_devices=1 gb=1 bs=4096"],
    kernelArguments: ["plugio_word"],
  });
  assert.equal(code, 0, stderr);
  const sectors = String(DISK_BYTES / 512);
  assert.deepEqual(values(stdout), {
    "nvme0n1.block": "512",
    "nvme0n1.sectors": sectors,
    "nvme0n2.block": "4096",
    "nvme0n2.sectors": sectors,
    "vda.block": "512",
    "vda.sectors": sectors,
    "nullb0.block": "4096",
    "nullb0.sectors": String((1 << 30) / 512),
    "nvme0n1.max_kib": "128",
    // The administration queue is counted.
    "nvme0.queues": "2",
    "nvme0.serial": "PLUGIO0",
    "nvme0.address": pciAddress(devices, 0),
    "vda.readonly": "1",
    iommu: "1",
    cpus: "2",
    word: "plugio_word",
    "nvme0n1.sha256": sha256(first),
    "nvme0n2.sha256": sha256(second),
  });
  assert.notEqual(sha256(first), sha256(third), "nothing was written");
});

const PROJECT_SCRIPT = `
${shellWords(scriptCommand("tests/guest/inside/read_write.ts", "/dev/nvme0n1", "/dev/vda"))}
${
  shellWords(
    scriptCommand("cli.ts", "randread", "/dev/nvme0n1", "--direct", "--runtime", "200ms", "--output-format", "json"),
  )
} >/tmp/fio.json
exec ${shellWords(testCommand("tests/core/containers_test.ts"))}
`;

testWhen(
  READY,
  "in the guest our io_uring driver reads and writes disks, and our tests and command line run",
  async () => {
    using dir = new TempDir();
    const [nvme, virtio] = ["nvme", "virtio"].map((name) => dir.sparse(name, DISK_BYTES)) as [string, string];
    const devices: GuestDevice[] = [
      { kind: "nvme", namespaces: [{ image: nvme }] },
      { kind: "virtio-blk", image: virtio },
    ];
    const { code, stdout, stderr, files } = await runGuest({
      command: ["sh", "-ec", PROJECT_SCRIPT],
      devices,
      collect: ["/tmp/fio.json"],
    });
    assert.equal(code, 0, stdout + stderr);
    const counts = readCounts(stdout, true);
    assert.deepEqual([counts.failed, counts.skipped], [0, 0]);
    assert.ok(counts.passed >= 9, stdout);
    const rows = stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
    // 32 writes, 32 reads and a flush: one submit each.
    const row = { size: DISK_BYTES, blockSize: 512, wrong: -1, submits: 3, requests: 65 };
    assert.deepEqual(rows, ["/dev/nvme0n1", "/dev/vda"].map((target) => ({ target, ...row })));
    assert.equal(sha256(nvme), sha256(virtio), "the same pattern went to both");
    const report = JSON.parse(new TextDecoder().decode(files.get("/tmp/fio.json")));
    assert.ok(report.jobs[0].read.total_ios > 0);
    assert.equal(report.jobs[0].error, 0);
  },
);

testWhen(READY, "two ways to a disk are compared by turns in one boot, with counters per I/O", async () => {
  using dir = new TempDir();
  const [a, b] = ["a", "b"].map((name) => dir.sparse(name, DISK_BYTES)) as [string, string];
  const rows = await runContest([{
    contenders: [
      { target: "/dev/nvme0n1", interrupts: "nvme0q[1-9]" },
      { target: "/dev/nvme1n1", interrupts: "nvme1q[1-9]", options: { batch: "none" } },
    ],
    rounds: 2,
    reads: 128,
  }], { devices: [a, b].map((image): GuestDevice => ({ kind: "nvme", namespaces: [{ image }] })) });
  const places = rows.map(({ target, depth, iops }) => [target, depth, iops.length]);
  assert.deepEqual(places, [["/dev/nvme0n1", 1, 2], ["/dev/nvme1n1", 1, 2], ["/dev/nvme0n1", 32, 2], [
    "/dev/nvme1n1",
    32,
    2,
  ]]);
  const [, , batched, single] = rows;
  assert.ok(batched!.submits < 0.5, `batched: ${batched!.submits} submits an I/O`);
  assert.equal(single!.submits, 1);
  for (const { interrupts } of rows) assert.ok(interrupts > 0);
});
