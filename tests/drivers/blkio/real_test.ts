/** The blkio driver on the real library: files through its io_uring driver, and a real vhost-user server. */
import assert from "node:assert/strict";
import { type DeviceOptions, openDevice, plugged, StorageError } from "../../../mod.ts";
import { hasLibblkio } from "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { hasStorageDaemon, StorageDaemon } from "../../support/storage_daemon.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const FILE_BYTES = 1 << 20;
const LIBRARY = hasLibblkio();
const SERVER = LIBRARY === true ? hasStorageDaemon() : LIBRARY;

/** A patterned file, and the targets that lead to it. */
class Bench implements AsyncDisposable {
  readonly file: string;
  readonly #dir: TempDir;
  readonly #daemon: StorageDaemon | null;

  private constructor(dir: TempDir, file: string, daemon: StorageDaemon | null) {
    this.#dir = dir;
    this.file = file;
    this.#daemon = daemon;
  }

  static async open(way: "io_uring" | "vhost-user", byteLength = FILE_BYTES): Promise<Bench> {
    const dir = new TempDir();
    const file = dir.file("disk, ü.bin", byteLength);
    return new Bench(dir, file, way === "io_uring" ? null : await StorageDaemon.start(file));
  }

  get target(): string {
    return this.#daemon === null ? `blkio:io_uring:${this.file}` : `blkio:virtio-blk-vhost-user:${this.#daemon.socket}`;
  }

  get daemon(): StorageDaemon {
    return this.#daemon!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}

for (const [way, ready] of [["io_uring", LIBRARY], ["vhost-user", SERVER]] as const) {
  for (const wait of ["event", "poll", "block"] as const) {
    testWhen(ready, `${way}, wait ${wait}: what is written is read back, and the file has it`, async () => {
      await using bench = await Bench.open(way);
      await using disk = await openDevice(bench.target, { wait });
      const buffers = disk.allocate(4, 4096);
      assert.deepEqual(await Promise.all(buffers.map((buffer, index) => disk.read(buffer, 8192 + index * 4096))), [
        4096,
        4096,
        4096,
        4096,
      ]);
      for (const [index, buffer] of buffers.entries()) assert.deepEqual(buffer, pattern(8192 + index * 4096, 4096));
      buffers[0]!.fill(1);
      assert.equal(await disk.write(buffers[0]!, 4096, { fua: true }), 4096);
      assert.equal(await disk.write(new Uint8Array(1024).fill(2), 16384), 1024);
      assert.equal(await disk.writev([buffers[1]!.fill(3), buffers[2]!.fill(4)], 32768), 8192);
      assert.equal(await disk.writev([new Uint8Array(512).fill(5), new Uint8Array(512).fill(6)], 65536), 1024);
      await disk.writeZeroes(131072, 65536);
      await disk.discard(262144, 65536);
      await disk.flush();
      await disk.nop();
      const two = [new Uint8Array(512), buffers[3]!];
      assert.equal(await disk.readv(two, 65536), 4608);
      assert.deepEqual([two[0]![0], two[1]![0]], [5, 6]);
      const bytes = Deno.readFileSync(bench.file);
      const at = (offset: number) => [bytes[offset], bytes[offset + 511]];
      assert.deepEqual([4096, 16384, 32768, 36864, 65536, 66048].map(at), [1, 2, 3, 4, 5, 6].map((n) => [n, n]));
      assert.ok(bytes.subarray(131072, 196608).every((byte) => byte === 0));
      assert.deepEqual(bytes.subarray(196608, 262144), pattern(196608, 65536));
    });
  }

  testWhen(ready, `${way}: a section of 32 reads is one submit`, async () => {
    await using bench = await Bench.open(way);
    await using disk = await openDevice(bench.target, { readOnly: false, batch: "plug" });
    const buffers = disk.allocate(32, 4096);
    for (let round = 1; round <= 4; round++) {
      await Promise.all(plugged(() => buffers.map((buffer, index) => disk.read(buffer, index * 4096))));
      assert.deepEqual([disk.stats.submits, disk.stats.submittedEntries], [round, round * 32]);
    }
  });

  testWhen(ready, `${way}: thousands of reads at once, beyond every queue, come back right`, async () => {
    await using bench = await Bench.open(way);
    await using disk = await openDevice(bench.target, { queueDepth: 700 });
    const buffers = disk.allocate(3000, 512);
    const offsetOf = (index: number) => (index * 7919 % 2048) * 512;
    await Promise.all(buffers.map((buffer, index) => disk.read(buffer, offsetOf(index))));
    for (const [index, buffer] of buffers.entries()) assert.deepEqual(buffer, pattern(offsetOf(index), 512));
  });

  testWhen(ready, `${way}: a read at the end fills with zeroes and tells the bytes; past the end it is 0`, async () => {
    await using bench = await Bench.open(way, 65536 - 512);
    await using disk = await openDevice(bench.target);
    const [buffer] = disk.allocate(1, 4096);
    buffer!.fill(9);
    assert.equal(await disk.read(buffer!, 65536 - 4096), 3584);
    assert.deepEqual(buffer!.subarray(0, 3584), pattern(65536 - 4096, 3584));
    assert.ok(buffer!.subarray(3584).every((byte) => byte === 0));
    buffer!.fill(9);
    assert.equal(await disk.read(buffer!, 1 << 20), 0);
    assert.ok(buffer!.every((byte) => byte === 0));
  });

  testWhen(ready, `${way}: a device that is open read-only refuses writes`, async () => {
    await using bench = await Bench.open(way);
    await using disk = await openDevice(bench.target, { readOnly: true });
    assert.equal(disk.info.readOnly, true);
    await assert.rejects(disk.write(new Uint8Array(512), 0), { kind: "unsupported", errnoName: "EROFS" });
  });

  testWhen(ready, `${way}: run() drives the callback API, one submit for what is sent together`, async () => {
    await using bench = await Bench.open(way);
    await using disk = await openDevice(bench.target, { wait: "block", batch: "plug" });
    let left = 1000;
    const requests = disk.allocate(16, 4096).map((buffer, index) =>
      disk.createRequest({
        op: "read",
        buffer,
        offset: index * 4096,
        onComplete: (request, result) => {
          assert.equal(result, 4096);
          assert.equal(buffer[0], pattern(request.offset, 1)[0]);
          request.offset = (request.offset + 65536) % FILE_BYTES;
          if (--left > 0) disk.submit(request);
        },
      })
    );
    plugged(() => requests.forEach((request) => disk.submit(request)));
    disk.run(() => false);
    assert.ok(left <= 0);
    assert.ok(disk.stats.submits < disk.stats.requests);
  });

  testWhen(ready, `${way}: closing waits for what is in flight, and everything after it is refused`, async () => {
    await using bench = await Bench.open(way);
    const disk = await openDevice(bench.target);
    const [buffer] = disk.allocate(1, 4096);
    const read = disk.read(buffer!, 4096);
    await disk.close();
    assert.equal(await read, 4096);
    assert.equal(buffer!.length, 0);
    await assert.rejects(disk.read(new Uint8Array(512), 0), { kind: "closed" });
  });
}

testWhen(
  LIBRARY,
  "io_uring: a file is created, grows by writes and zeroes, shrinks, and its end is known at once",
  async () => {
    using dir = new TempDir();
    const path = `${dir.path}/new.bin`;
    await using disk = await openDevice(`blkio:io_uring:${path}`, { create: true });
    assert.equal(disk.size, 0);
    await disk.write(new Uint8Array(1000).fill(1), 0);
    assert.equal(disk.size, 1000);
    assert.equal(await disk.read(new Uint8Array(4096), 0), 1000);
    await disk.writeZeroes(1000, 3000);
    assert.equal(disk.size, 4000);
    Deno.truncateSync(path, 100);
    assert.equal(await disk.read(new Uint8Array(4096), 0), 100);
    await disk.resize(10);
    assert.equal(await disk.read(new Uint8Array(4096), 0), 10);
  },
);

testWhen(SERVER, "vhost-user: memory of another device bounces, and cannot make a request", async () => {
  await using bench = await Bench.open("vhost-user");
  await using disk = await openDevice(bench.target);
  await using other = await openDevice(bench.file);
  const [foreign] = other.allocate(1, 4096);
  assert.equal(await disk.read(foreign!, 4096), 4096);
  assert.deepEqual(foreign, pattern(4096, 4096));
  assert.equal(disk.stats.bounced, 1);
  assert.throws(() => disk.createRequest({ op: "read", buffer: foreign!, onComplete: () => {} }), TypeError);
});

testWhen(SERVER, "vhost-user: two servers in one section get one submit each, at its end (B6)", async () => {
  await using first = await Bench.open("vhost-user");
  await using second = await Bench.open("vhost-user");
  await using one = await openDevice(first.target);
  await using two = await openDevice(second.target);
  const buffers = [one, two].map((disk) => disk.allocate(8, 4096));
  const reads = plugged(() => {
    const all = buffers[0]!.flatMap((buffer, index) => [
      one.read(buffer, index * 4096),
      two.read(buffers[1]![index]!, 32_768 + index * 4096),
    ]);
    assert.deepEqual([one.stats.submits, two.stats.submits], [0, 0]);
    return all;
  });
  assert.deepEqual([one.stats.submits, two.stats.submits], [1, 1]);
  await Promise.all(reads);
  for (const [index, buffer] of buffers[0]!.entries()) assert.deepEqual(buffer, pattern(index * 4096, 4096));
  for (const [index, buffer] of buffers[1]!.entries()) assert.deepEqual(buffer, pattern(32_768 + index * 4096, 4096));
});

testWhen(SERVER, "vhost-user: a thousand single allocations share a few memory regions", async () => {
  await using bench = await Bench.open("vhost-user");
  await using disk = await openDevice(bench.target);
  const buffers = Array.from({ length: 1000 }, () => disk.allocate(1, 4096)[0]!);
  const offsetOf = (index: number) => (index * 7919 % 256) * 4096;
  await Promise.all(buffers.map((buffer, index) => disk.read(buffer, offsetOf(index))));
  for (const [index, buffer] of buffers.entries()) assert.deepEqual(buffer, pattern(offsetOf(index), 4096));
  assert.equal(disk.stats.bounced, 0);
  disk.release([buffers[1]!]);
  assert.deepEqual([buffers[0]!.length, buffers[1]!.length, buffers[2]!.length], [4096, 0, 4096]);
  const [again] = disk.allocate(1, 4096);
  assert.ok(again!.every((byte) => byte === 0), "memory of another owner shows");
  assert.equal(await disk.read(again!, 4096), 4096);
  assert.deepEqual(again, pattern(4096, 4096));
  disk.release([...buffers.filter((buffer) => buffer.length > 0), again!]);
  assert.equal(await disk.read(disk.allocate(1, 4096)[0]!, 0), 4096);
});

testWhen(SERVER, "vhost-user: one memory region too many is refused before the server is asked", async () => {
  await using bench = await Bench.open("vhost-user");
  await using disk = await openDevice(bench.target);
  const all: Uint8Array<ArrayBuffer>[][] = [];
  const fill = () => {
    for (let count = 0; count < 1000; count++) all.push(disk.allocate(1, 1 << 20));
  };
  assert.throws(fill, {
    kind: "resource",
    message: /(\d+) of \1 memory regions are in use \(max-mem-regions\); wanted fewer/,
  });
  assert.equal(await disk.read(all[0]![0]!, 0), 1 << 20);
  disk.release(all.pop()!);
  const [buffer] = disk.allocate(1, 4096);
  assert.equal(await disk.read(buffer!, 0), 4096);
  assert.equal(disk.broken, false);
});

for (const wait of ["event", "block"] as const) {
  testWhen(SERVER, `a server that dies with I/O in flight fails each request once, wait ${wait}`, async () => {
    await using bench = await Bench.open("vhost-user");
    await using disk = await openDevice(bench.target, { wait });
    const buffers = disk.allocate(8, 4096);
    await disk.read(buffers[0]!, 0);
    bench.daemon.suspend();
    let calls = 0;
    const requests = buffers.map((buffer) =>
      disk.createRequest({ op: "read", buffer, onComplete: (_, result) => void (calls += result < 0 ? 1 : 1000) })
    );
    plugged(() => requests.forEach((request) => disk.submit(request)));
    const killed = bench.daemon.kill();
    if (wait === "block") disk.run(() => false);
    else {
      const wanted = { kind: "broken", message: /the server has closed the connection, or died/ };
      await assert.rejects(disk.read(buffers[0]!, 0), wanted);
    }
    await killed;
    assert.equal(calls, 8);
    assert.equal(disk.broken, true);
    await assert.rejects(disk.read(buffers[0]!, 0), { kind: "broken", errnoName: "ECONNRESET" });
    await assert.rejects(disk.read(new Uint8Array(512), 0), { kind: "broken" });
  });
}

/** What opening says, with the kind of the error in front. */
async function refusal(target: string, options: DeviceOptions = {}): Promise<string> {
  const error = await openDevice(target, options).then((disk) => disk.close(), (reason: unknown) => reason);
  if (error instanceof StorageError) return `${error.kind}: ${error.message}`;
  return String(error);
}

testWhen(
  LIBRARY,
  "bad targets and properties are one line each, with libblkio's own words where it has some",
  async () => {
    using dir = new TempDir();
    const file = dir.file("disk.bin", 65536);
    const uring = `blkio:io_uring:${file}`;
    const cases: [RegExp, string, DeviceOptions?][] = [
      [
        /^RangeError: .*wanted blkio:io_uring:PATH, blkio:nvme-io_uring:PATH, .*virtio-blk-vfio-pci:PCI$/,
        "blkio:nope:x",
      ],
      [/^open: Cannot open \/no\/such: ENOENT/, "blkio:io_uring:/no/such"],
      [
        /^open: .*ENOENT.*libblkio says "No such file.*"; wanted the path of something that is there$/,
        "blkio:virtio-blk-vhost-user:/no/such",
      ],
      [/^open: .*it is no socket; wanted the socket of a vhost-user-blk server/, `blkio:virtio-blk-vhost-user:${file}`],
      [/^unsupported: .*bogus.*"Unknown property name"; wanted one of .*num-entries/, uring, { blkio: { bogus: 1 } }],
      [/^unsupported: .*"Property is read-only"; it can be read only/, uring, { blkio: { capacity: 1 } }],
      [/^unsupported: .*num-entries to x.*libblkio says/, uring, { blkio: { "num-entries": "x" } }],
      [/^RangeError: .*wanted a target such as/, uring, { blkio: { path: "/x" } }],
      [/^RangeError: .*direct to true with direct: false/, uring, { blkio: { direct: true }, direct: false }],
      [/^RangeError: .*without a queue: wanted num-queues of 1/, uring, { blkio: { "num-queues": 0 } }],
      [/^unsupported: .*create/, "blkio:virtio-blk-vhost-user:/x", { create: true }],
    ];
    for (const [expected, target, options] of cases) assert.match(await refusal(target, options), expected);
  },
);

testWhen(LIBRARY, "a property called as what every object has is none of libblkio's", async () => {
  await using bench = await Bench.open("io_uring");
  for (const name of ["toString", "constructor", "hasOwnProperty"]) {
    const wanted = new RegExp(
      `^StorageError: Cannot set property ${name} to 1 of io_uring.*wanted one of direct, `,
    );
    await assert.rejects(openDevice(bench.target, { blkio: { [name]: 1 } }), wanted);
  }
});

testWhen(SERVER, "a socket without a listener is said to be one", async () => {
  await using bench = await Bench.open("vhost-user");
  await bench.daemon.kill();
  assert.match(
    await refusal(bench.target),
    /^open: .*no server listens on the socket; wanted a vhost-user-blk server$/,
  );
});

testWhen(
  SERVER,
  "properties of the connected state reach the device: a queue of four still serves many reads",
  async () => {
    await using bench = await Bench.open("vhost-user");
    await using disk = await openDevice(bench.target, { blkio: { "queue-size": "4" } });
    const buffers = disk.allocate(50, 512);
    await Promise.all(buffers.map((buffer, index) => disk.read(buffer, index * 512)));
    for (const [index, buffer] of buffers.entries()) assert.deepEqual(buffer, pattern(index * 512, 512));
  },
);

for (const more of [["--wait=block"], ["--wait=event"], ["--rate-iops=2000"]]) {
  testWhen(SERVER, `randread ends when its server dies, each I/O in flight failed once ${more.join(" ")}`, async () => {
    await using bench = await Bench.open("vhost-user");
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-P", "cli.ts", "randread", bench.target, "--runtime=1h", "--iodepth=4", "--trace", ...more],
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const text = new Response(child.stdout).text();
    let killed: Promise<unknown> | null = null;
    for await (const lines of child.stderr.pipeThrough(new TextDecoderStream())) {
      if (lines.includes("blkio_process_completion")) killed ??= Promise.resolve(bench.daemon.kill());
    }
    await killed;
    const { code } = await child.status;
    assert.equal(code, 1, await text);
    const [, count] = /errors +ECONNRESET (\d+)/.exec(await text) ?? [];
    assert.ok(Number(count) >= 1 && Number(count) <= 4, await text);
  });
}

testWhen(SERVER, "randread measures a vhost-user server, one job at a time", async () => {
  await using bench = await Bench.open("vhost-user");
  const randread = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-P", "cli.ts", "randread", bench.target, "--runtime=200ms", ...args],
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  };
  const one = await randread("--blkio", "queue-size=64", "--blkio", "num-queues=1");
  assert.equal(one.code, 0, one.text);
  assert.match(one.text, /errors +none/);
  const two = await randread("--numjobs=2");
  assert.equal(two.code, 2, two.text);
  assert.match(two.text, /^Cannot use --numjobs 2 on \S+: it takes one owner at a time, wanted 1$/m);
  const unknown = await randread("--blkio", "bogus=1");
  assert.equal(unknown.code, 1, unknown.text);
  assert.match(unknown.text, /^Cannot set property bogus to 1 .*wanted one of .*queue-size/m);
  assert.equal((await randread("--blkio", "bogus")).code, 2);
});
