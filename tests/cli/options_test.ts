/** The command line: fio's words, defaults, and what is refused. */
import assert from "node:assert/strict";
import { normalizeArguments } from "../../cli/arguments.ts";
import { ExitCode } from "../../cli/exit_codes.ts";
import { parseLoadOptions } from "../../cli/load/options.ts";
import { parseServeOptions } from "../../cli/serve/options.ts";
import { VERSION } from "../../cli/version.ts";
import { loadLibraries, options, refusal, TempFolder } from "./support.ts";

await loadLibraries();

Deno.test("settings of nbd are numbers, flags and names, and are for its driver only", () => {
  const nbd = ["connections=4", "reconnectMs=1000", "structuredReplies=true", "exportName=7"];
  assert.deepEqual(parseLoadOptions("randread", "nbd://h/", { nbd }).nbd, {
    connections: 4,
    reconnectMs: 1000,
    structuredReplies: true,
    exportName: "7",
  });
  assert.throws(() => parseLoadOptions("randread", "nbd://h/", { nbd: ["=4"] }), /--nbd =4: wanted KEY=VALUE/);
  assert.throws(() => parseLoadOptions("randread", "nbd://h/", { nbd: ["connections=x"] }), /wanted a whole number/);
  assert.throws(() => parseLoadOptions("randread", "nbd://h/", { nbd: ["extendedHeaders=2"] }), /wanted 0 or 1/);
  assert.throws(
    () => parseLoadOptions("randread", "/x", { nbd }),
    /Cannot use --nbd with driver io_uring: wanted a target/,
  );
});

Deno.test("properties of libblkio are gathered, and are for its driver only", () => {
  const raw = { driver: "blkio", blkio: ["queue-size=64", "num-queues=1", "queue-size=128"] };
  assert.deepEqual(parseLoadOptions("randread", "io_uring:/x", raw).blkio, { "queue-size": "128", "num-queues": "1" });
  for (const text of ["queue-size", "=64", ""]) {
    assert.throws(() => parseLoadOptions("randread", "/x", { driver: "blkio", blkio: [text] }), /wanted KEY=VALUE/);
  }
  assert.throws(() => parseLoadOptions("randread", "/x", { blkio: ["a=b"] }), /wanted --driver blkio/);
});

Deno.test("the defaults are those that the documentation names", () => {
  assert.deepEqual(parseLoadOptions("randread", undefined, {}), {
    mode: "randread",
    target: null,
    driver: "io_uring",
    blockSizeBytes: 4096,
    ioDepth: 32,
    jobCount: 1,
    runtimeMs: 10_000,
    rampMs: 0,
    rampIos: 0,
    sizeBytes: null,
    sizePercent: null,
    offsetBytes: 0,
    direct: false,
    seed: 1,
    batch: "plug",
    wait: "block",
    keepTick: null,
    api: "callback",
    batchCompleteMin: 1,
    readPercent: 100,
    allowDestructive: false,
    outputFormat: "normal",
    outputPath: null,
    blkio: {},
    nbd: {},
    trace: false,
    rateIops: null,
    numberIos: null,
    timeBased: true,
    ioBytes: null,
    loops: 1,
    startDelayMs: 0,
    randomMap: true,
    distribution: { kind: "random" },
    percentiles: null,
    verify: false,
    steadyState: null,
    sampleMs: 500,
    logPrefixes: { iops: null, bw: null, lat: null },
  });
});

Deno.test("the promise API batches automatically unless told otherwise", () => {
  assert.equal(options("read", "f", { api: "promise" }).batch, "auto");
  assert.equal(options("read", "f", { api: "promise", batch: "none" }).batch, "none");
});

Deno.test("sizes take fio's suffixes and times take units", () => {
  const parsed = options("read", "f", { bs: "128k", size: "1g", offset: "3M", runtime: "1m", rampTime: "250ms" });
  assert.equal(parsed.blockSizeBytes, 131_072);
  assert.equal(parsed.sizeBytes, 1024 ** 3);
  assert.equal(parsed.offsetBytes, 3 * 1024 ** 2);
  assert.equal(parsed.runtimeMs, 60_000);
  assert.equal(parsed.rampMs, 250);
});

Deno.test("a size can be a share of the target, in whole percent", () => {
  const { sizeBytes, sizePercent } = options("read", "f", { size: "50%" });
  assert.deepEqual([sizeBytes, sizePercent], [null, 50]);
  for (const size of ["0%", "101%", "-1%", "1.5%", "%", "5 %"]) {
    assert.throws(
      () => options("read", "f", { size }),
      /^CliError: Cannot use --size .*: wanted 1% to 100% of the target$/,
    );
  }
});

Deno.test("a target can name its driver, and a colon in a path is none", () => {
  assert.equal(options("read", "io_uring:/x").driver, "io_uring");
  assert.equal(options("read", "/with:colon").driver, "io_uring");
});

Deno.test("only randrw has a share of reads", () => {
  assert.equal(options("randrw", "f").readPercent, 50);
  assert.equal(options("randrw", "f", { rwmixread: "70" }).readPercent, 70);
  assert.equal(options("rw", "f", { rwmixwrite: "70" }).readPercent, 30);
  assert.throws(
    () => options("rw", "f", { rwmixread: "30", rwmixwrite: "70" }),
    /^CliError: Cannot use --rwmixread with --rwmixwrite: each says the other, wanted one of the two$/,
  );
  assert.equal(options("write", "f").readPercent, 0);
});

Deno.test("fio's underscores and a bare --direct are understood", () => {
  assert.deepEqual(normalizeArguments(["--ramp_time=5", "--iodepth_batch_complete_min", "4"]), [
    "--ramp-time=5",
    "--iodepth-batch-complete-min",
    "4",
  ]);
  assert.deepEqual(normalizeArguments(["--direct", "/dev/x"]), ["--direct=1", "/dev/x"]);
  assert.deepEqual(normalizeArguments(["--direct", "0"]), ["--direct=0"]);
  assert.deepEqual(normalizeArguments(["--direct", "yes", "./yes"]), ["--direct=yes", "./yes"]);
  assert.deepEqual(normalizeArguments(["--direct=1", "a_b=c_d"]), ["--direct=1", "a_b=c_d"]);
  assert.deepEqual(normalizeArguments(["--", "--direct"]), ["--", "--direct"]);
});

Deno.test("what a load does beyond depth and time is read in fio's words", () => {
  const parsed = options("randread", "f", {
    rateIops: "500",
    numberIos: "9",
    randomDistribution: "zipf:1.2",
    percentileList: "99.9:50:99.9",
    steadystate: "bw_slope:0.5%",
    steadystateDuration: "5",
    steadystateRampTime: "2",
    logAvgMsec: "250",
    writeBwLog: "x",
  });
  assert.equal(parsed.rateIops, 500);
  assert.equal(parsed.numberIos, 9);
  assert.deepEqual(parsed.distribution, { kind: "zipf", theta: 1.2 });
  assert.equal(parsed.randomMap, false);
  assert.deepEqual(parsed.percentiles, [50, 99.9]);
  assert.deepEqual(parsed.steadyState, {
    criterion: "bw_slope",
    limit: 0.5,
    isPercent: true,
    durationMs: 5000,
    rampMs: 2000,
    intervalMs: 1000,
  });
  assert.equal(parsed.sampleMs, 250);
  assert.deepEqual(parsed.logPrefixes, { iops: null, bw: "x", lat: null });
});

Deno.test("norandommap turns the random map off, alone or with 1", () => {
  const of = (...args: string[]) => normalizeArguments(["--norandommap", ...args])[0];
  assert.equal(of("/dev/x"), "--norandommap=1");
  assert.equal(of("0"), "--norandommap=0");
  assert.equal(options("randread", "f", { norandommap: "1" }).randomMap, false);
  assert.equal(options("randread", "f", { norandommap: "0" }).randomMap, true);
  assert.equal(options("randread", "f", { randomDistribution: "pareto:0.2", norandommap: "1" }).randomMap, false);
});

Deno.test("values keep their underscores", () => {
  assert.deepEqual(normalizeArguments(["--driver=io_uring", "--output=a_b"]), ["--driver=io_uring", "--output=a_b"]);
});

Deno.test("the version is that of deno.json", () => {
  const config = JSON.parse(Deno.readTextFileSync(new URL("../../deno.json", import.meta.url)));
  assert.equal(VERSION, config.version);
});

const MISUSES: readonly (readonly [args: string[], line: RegExp])[] = [
  [["randread", "--iodepth", "0"], /^Cannot use --iodepth 0: wanted a whole number from 1 to 32768$/],
  [["randread", "--iodepth=32769"], /^Cannot use --iodepth 32769: wanted a whole number from 1 to 32768$/],
  [["randread", "--iodepth=many"], /^Cannot use --iodepth many: wanted a whole number/],
  [["randread", "--iodepth="], /^Cannot use --iodepth "": wanted a value$/],
  [["randread", "--iodepth"], /^Cannot use option --iodepth: it has no value, wanted --iodepth <n>$/],
  [["randread", "--iodepht=3"], /^Cannot use option --iodepht=3: it is unknown, wanted --iodepth$/],
  [["randread", "--nonsense"], /^Cannot use option --nonsense: it is unknown, wanted one that --help lists$/],
  [["randraed"], /^Cannot run subcommand randraed: it is unknown, wanted randread$/],
  [["randread", "a", "b"], /^Cannot use more than one target: a, b, wanted one$/],
  [["randread", "--bs=0"], /^Cannot use --bs 0: wanted more than 0$/],
  [["randread", "--bs=4x"], /^Cannot read --bs "4x": wanted bytes/],
  [["randread", "--size=0"], /^Cannot use --size 0: wanted more than 0$/],
  [["randread", "--runtime=0"], /^Cannot use --runtime 0: wanted more than 0$/],
  [["randread", "--runtime=8000h"], /^Cannot use --runtime 8000h: wanted at most 7 days$/],
  [["randread", "--numjobs=0"], /^Cannot use --numjobs 0: wanted a whole number from 1 to 256$/],
  [["randread", "--direct=2"], /^Cannot use --direct 2: wanted 0, 1$/],
  [["randread", "--keep-tick=no"], /^Cannot use --keep-tick no: wanted 0, 1$/],
  [["randread", "--batch=all"], /^Cannot use --batch all: wanted none, device, plug, dispatch, auto$/],
  [["randread", "--wait=spin"], /^Cannot use --wait spin: wanted event, poll, block$/],
  [["randread", "--api=sync"], /^Cannot use --api sync: wanted callback, promise$/],
  [["randread", "--output-format=xml"], /^Cannot use --output-format xml: wanted normal, json$/],
  [["randread", "--seed=-1"], /^Cannot use --seed -1: wanted a whole number from 0 to 4294967295$/],
  [
    ["randread", "--bs=1g", "--iodepth=32"],
    /^Cannot use --bs 1073741824 with --iodepth 32 .*wanted at most 4294967296$/,
  ],
  [["randread", "--iodepth=4", "--iodepth-batch-complete-min=5"], /^Cannot use --iodepth-batch-complete-min 5: wanted/],
  [["randread", "--rate-iops=0"], /^Cannot use --rate-iops 0: wanted a whole number from 1 to 100000000$/],
  [["randread", "--rate-iops=9", "--wait=event"], /^Cannot use --rate-iops with --wait event: .*wanted block$/],
  [["randread", "--rate-iops=9", "--api=promise"], /^Cannot use --rate-iops with --api promise: .*wanted callback$/],
  [
    ["randread", "--number-ios=1.5"],
    /^Cannot use --number-ios 1\.5: wanted a whole number from 1 to 9007199254740991$/,
  ],
  [
    ["randread", "--number-ios=9", "--ramp-ios=1"],
    /^Cannot use --number-ios with --ramp-ios: .*wanted one of the two$/,
  ],
  [
    ["randread", "--number-ios=9", "--ramp-time=1"],
    /^Cannot use --number-ios with --ramp-time: .*wanted one of the two$/,
  ],
  [["randread", "--norandommap=2"], /^Cannot use --norandommap 2: wanted 0, 1$/],
  [["read", "--norandommap"], /^Cannot use option --norandommap=1: it belongs to randread, randwrite, randrw, wanted/],
  [
    ["randread", "--norandommap=0", "--random-distribution=zipf:1"],
    /^Cannot use --norandommap 0 with .* zipf: .*wanted 1$/,
  ],
  [["randread", "--random-distribution=zipf"], /^Cannot use --random-distribution zipf: wanted random, zipf:THETA/],
  [["randread", "--random-distribution=zipf:0"], /^Cannot use --random-distribution zipf:0: wanted random, zipf:THETA/],
  [["randread", "--random-distribution=pareto:1"], /^Cannot use --random-distribution pareto:1: .*0 < H < 1\)$/],
  [["randread", "--random-distribution=normal:5"], /^Cannot use --random-distribution normal:5: wanted random/],
  [["randread", "--random-distribution=zipf:1:2"], /^Cannot use --random-distribution zipf:1:2: wanted random/],
  [["randread", "--percentile-list=50:"], /^Cannot use --percentile-list 50:: "" is no percentile, wanted numbers/],
  [["randread", "--percentile-list=0:50"], /^Cannot use --percentile-list 0:50: "0" is no percentile/],
  [["randread", "--percentile-list=101"], /^Cannot use --percentile-list 101: "101" is no percentile/],
  [
    ["randread", `--percentile-list=${Array(21).fill(1).join(":")}`],
    /^Cannot use --percentile-list of 21 values: wanted at most 20$/,
  ],
  [["randread", "--log-avg-msec=9"], /^Cannot use --log-avg-msec 9: wanted a whole number from 10 to 3600000$/],
  [["randread", "--steadystate=iops"], /^Cannot use --steadystate iops: wanted iops, iops_slope, bw, bw_slope with a/],
  [["randread", "--steadystate=lat:1"], /^Cannot use --steadystate lat:1: wanted iops, iops_slope, bw, bw_slope/],
  [["randread", "--steadystate=iops:0%"], /^Cannot use --steadystate iops:0%: wanted/],
  [["randread", "--steadystate=iops:1%"], /^Cannot use --steadystate with --steadystate-duration 0: wanted whole sec/],
  [["randread", "--steadystate-duration=5"], /^Cannot use --steadystate-duration without --steadystate: wanted both$/],
  [
    ["randread", "--steadystate=iops:1%", "--steadystate-duration=30"],
    /^Cannot use --steadystate-duration 30: the run has only 10 s for it, wanted a longer --runtime$/,
  ],
  [
    ["randread", "--steadystate=iops:1%", "--steadystate-duration=5", "--log-avg-msec=2000"],
    /^Cannot use --log-avg-msec 2000 with --steadystate: .*wanted at most 1000$/,
  ],
  [["randwrite", "/tmp/x", "--verify=md5"], /^Cannot use --verify md5: wanted crc32c$/],
  [
    ["randwrite", "/tmp/x", "--verify=crc32c", "--bs=1000"],
    /^Cannot use --verify with --bs 1000: wanted a multiple of 512$/,
  ],
  [
    ["randwrite", "/tmp/x", "--verify=crc32c", "--ramp-time=1"],
    /^Cannot use --verify with --ramp-time: .*one of the two$/,
  ],
  [
    ["randrw", "/tmp/x", "--verify=crc32c"],
    /^Cannot use option --verify=crc32c: it belongs to randwrite, write, wanted/,
  ],
  [["randread", "--verify", "crc32c"], /^Cannot use option --verify: it belongs to randwrite, write, wanted one that /],
  [
    ["randread", "--rwmixread=50"],
    /^Cannot use option --rwmixread=50: it belongs to randrw, rw, sweep, wanted one that /,
  ],
  [
    ["randread", "--socket=x"],
    /^Cannot use option --socket=x: it belongs to serve nbd, serve vhost-user-blk, serve vhost-user-scsi, wanted one that /,
  ],
  [
    ["serve", "--socket=x", "f"],
    /^Cannot use option --socket=x: it belongs to .*, wanted nbd, vhost-user-blk or vhost-user-scsi before it$/,
  ],
  [["randread", "-iodepth", "8"], /^Cannot use option -iodepth: it has one dash, wanted --iodepth$/],
  [["randread", "--direct", "yes", "/tmp/x"], /^Cannot use --direct yes: wanted 0, 1$/],
  [["serve", "vhost-user-blk", "--socket=s", "--direct", "2", "/tmp/x"], /^Cannot use --direct 2: wanted 0, 1$/],
  [["serve"], /^Cannot run serve without a subcommand: wanted nbd, vhost-user-blk or vhost-user-scsi$/],
  [["serve", "nfs"], /^Cannot run subcommand nfs: it is unknown, wanted nbd, vhost-user-blk or vhost-user-scsi$/],
  [["serve", "nbd", "f"], /^Cannot serve without a socket: wanted --socket <path> or --listen <host:port>$/],
  [
    ["serve", "nbd", "--socket=s", "--listen=h:1", "f"],
    /^Cannot use --listen h:1 with --socket s: wanted one of the two$/,
  ],
  [["serve", "nbd", "--listen=10809", "f"], /^Cannot use --listen 10809: wanted HOST:PORT, such as 127.0.0.1:10809 /],
  [["serve", "nbd", "--listen=h:65536", "f"], /^Cannot use --listen h:65536: wanted HOST:PORT/],
  [["serve", "nbd", "--listen=::1:99", "f"], /^Cannot use --listen ::1:99: wanted HOST:PORT/],
  [["serve", "nbd", "--socket=@s", "f"], /^Cannot use --socket @s: abstract sockets are not served, wanted a path$/],
  [["nvme"], /^Cannot run nvme without a subcommand: wanted doctor, bind, unbind, list, id or smart$/],
  [["nvme", "frobnicate"], /^Cannot run subcommand frobnicate: it is unknown, wanted doctor, bind, .* or smart$/],
  [["frobnicate"], /^Cannot run subcommand frobnicate: it is unknown, wanted randread, .*, serve or lun$/],
  [["lun", "frobnicate"], /^Cannot run subcommand frobnicate: it is unknown, wanted add, remove or list$/],
  [["lun", "add"], /^Cannot go on without lun: wanted it after the subcommand$/],
  [["lun"], /^Cannot run lun without a subcommand: wanted add, remove or list$/],
  [["target", "frobnicate"], /^Cannot use target frobnicate: wanted latency, fault, throttle, ram, list, stop, clean$/],
  [["report"], /^Cannot draw a report without results: wanted a folder that a sweep wrote$/],
  [["probe", "memory:64MiB"], /^Cannot describe memory:64MiB: probe looks at paths, wanted that of a file or a block/],
  [["probe", "nvme:0000:01:00.0/1"], /^Cannot describe nvme:0000:01:00\.0\/1: probe looks at paths, wanted/],
  [
    ["probe", "blkio:virtio-blk-vhost-user:/x"],
    /^Cannot describe blkio:virtio-blk-vhost-user:\/x: probe looks at paths/,
  ],
  [["randwrite"], /^Cannot go on without a target: wanted a path or an address$/],
  [["randwrite", "/tmp/x"], /^Cannot run randwrite on \/tmp\/x: it overwrites data, wanted --allow-destructive$/],
  [["write", "/tmp/x"], /^Cannot run write on \/tmp\/x: it overwrites data, wanted --allow-destructive$/],
  [["randrw", "/tmp/x"], /^Cannot run randrw on \/tmp\/x: it overwrites data, wanted --allow-destructive$/],
  [["randread", ""], /^Cannot use target "": wanted a path/],
  [["randread", "linux_aio:"], /^Cannot use target "linux_aio:": wanted a path or an address after it$/],
  [["randread", "memory:"], /^Cannot use target "memory:": wanted a path or an address after it$/],
  [["randread", "--driver=memory"], /^Cannot use --driver memory without a target: wanted one such as memory:64MiB$/],
  [
    ["randread", "--driver=nvme"],
    /^Cannot use --driver nvme without a target: wanted one such as nvme:0000:01:00.0\/1$/,
  ],
  [
    ["sweep", "--driver=io_uring,memory"],
    /^Cannot use --driver memory without a target: wanted one such as memory:64MiB$/,
  ],
  [["randread", "/tmp/x", "--driver=constructor"], /^Cannot use driver "constructor": wanted .*io_uring/],
];

for (const [args, line] of MISUSES) {
  Deno.test(`misuse is refused in one line: plugio ${args.join(" ")}`, async () => {
    const { lines, exitCode } = await refusal(...args);
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0]!, line);
    assert.equal(exitCode, ExitCode.misuse);
  });
}

const ENVIRONMENT: readonly (readonly [args: (file: string) => string[], code: number, line: RegExp])[] = [
  [
    (file) => ["randread", `${file}.missing`],
    1,
    /^Cannot open .*\.missing: ENOENT \(no such file or directory\), wanted an existing file or block device$/,
  ],
  [() => ["randread", "/tmp"], 1, /^Cannot open \/tmp: it is a directory, wanted a regular file or a block device$/],
  [() => ["randread", "/tmp", "--direct"], 1, /^Cannot open \/tmp: it is a directory/],
  [(file) => ["randread", file, "--driver=nope"], 2, /^Cannot use driver "nope": wanted .*io_uring/],
  [(file) => ["randread", file, "--bs=1000", "--direct"], 2, /^Cannot use --bs 1000 on .*: wanted a multiple of \d+$/],
  [(file) => ["randread", file, "--offset=100", "--direct"], 2, /^Cannot use --offset 100 on .*: wanted a multiple of/],
  [
    (file) => ["randread", file, "--offset=64k"],
    2,
    /^Cannot use --offset 65536: .* has 65536 bytes, wanted at most 61440$/,
  ],
  [
    (file) => ["randread", file, "--bs=128k"],
    2,
    /^Cannot use --bs 131072: .* has 65536 bytes, wanted a block no longer/,
  ],
  [(file) => ["randread", file, "--size=128k"], 2, /^Cannot use --size 131072 at --offset 0: .*wanted at most 65536$/],
  [(file) => ["randread", file, "--size=512"], 2, /^Cannot use --size 512: wanted at least one block of 4096$/],
  [
    (file) => ["randwrite", file, "--allow-destructive", "--verify=crc32c"],
    2,
    /^Cannot use --verify with 16 blocks for job 0 and --iodepth 32: wanted at least as many blocks/,
  ],
  [
    (file) => ["randread", file, "--write-lat-log=/nowhere/x"],
    1,
    /^Cannot write output file \/nowhere\/x_lat\.log: the folder does not/,
  ],
  [
    (file) => ["randread", file, "--output=/nowhere/x"],
    1,
    /^Cannot write output file \/nowhere\/x: the folder does not/,
  ],
  [
    (file) => ["randread", file, "--output=/tmp"],
    1,
    /^Cannot write output file \/tmp: it is a directory, wanted a reg/,
  ],
  [(file) => ["randread", file, "--output=/proc/x"], 1, /^Cannot use "\/proc\/x": Deno lets no program there, wanted/],
  [(file) => ["sweep", file, "--output=/proc/x"], 1, /^Cannot use "\/proc\/x\/manifest\.json": Deno lets no program/],
  [
    (file) => ["sweep", file, "--output=/nowhere/x"],
    1,
    /^Cannot make folder \/nowhere\/x: \/nowhere does not exist, wanted a folder in one that does$/,
  ],
  [
    (file) => ["randread", `blkio:io_uring:${file}`, "--blkio=frob=1"],
    1,
    /^Cannot set property frob to 1 of io_uring: .*wanted one of/,
  ],
];

for (const [args, code, line] of ENVIRONMENT) {
  Deno.test(`refused in one line, nothing left behind: plugio ${args("FILE").join(" ")}`, async () => {
    using folder = new TempFolder();
    const file = folder.file("target", 65_536);
    const { lines, exitCode } = await refusal(...args(file), "--runtime=1");
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0]!, line);
    assert.equal(exitCode, code);
    assert.deepEqual(folder.names(), ["target"]);
  });
}

Deno.test("an empty target is refused with exit code 1", async () => {
  using folder = new TempFolder();
  const { lines, exitCode } = await refusal("randread", folder.file("empty", 0));
  assert.match(lines.join("\n"), /^Cannot use target .*empty: it is empty, wanted at least one block of 4KiB$/);
  assert.equal(exitCode, ExitCode.failed);
});

Deno.test("a target that may not be read is refused with exit code 1", async () => {
  // Write-only for everybody: not even root may read it, so that the test works with any user.
  const { lines, exitCode } = await refusal("randread", "/sys/bus/platform/drivers_probe");
  assert.match(
    lines.join("\n"),
    /^Cannot open \/sys\/bus\/platform\/drivers_probe: EACCES \(permission denied\), wanted one that/,
  );
  assert.equal(exitCode, ExitCode.failed);
});

Deno.test("an option of some drivers is refused with the others, by its name on the command line", () => {
  for (const [target, driver] of [["memory:1MiB", "memory"], ["nvme:0000:01:00.0/1", "nvme"]] as const) {
    const message = `Cannot use --keep-tick with driver ${driver}: wanted io_uring, linux_aio, blkio`;
    assert.throws(() => parseLoadOptions("randread", target, { keepTick: "1" }), { name: "CliError", message });
  }
  assert.equal(parseLoadOptions("randread", "blkio:io_uring:/x", { keepTick: "0" }).keepTick, false);
});

Deno.test("a driver that contradicts the prefix of the target is refused, one that repeats it is not", () => {
  for (
    const [driver, target, prefix] of [
      ["linux_aio", "blkio:io_uring:/x", "blkio"],
      ["io_uring", "memory:1MiB", "memory"],
      ["blkio", "linux_aio:/x", "linux_aio"],
    ] as const
  ) {
    const message =
      `Cannot use --driver ${driver} with ${target}: its prefix names driver ${prefix}, wanted one of the two`;
    const wanted = { name: "CliError", exitCode: 2, message };
    assert.throws(() => parseLoadOptions("randread", target, { driver }), wanted);
    assert.throws(() => parseServeOptions(target, { driver, socket: "/s" }), wanted);
  }
  for (
    const [driver, target, wanted] of [
      [undefined, "memory:1MiB", "memory"],
      ["memory", "memory:1MiB", "memory"],
      ["memory", "1MiB", "memory"],
      ["blkio", "io_uring:/x", "blkio"],
      ["blkio", "virtio-blk-vhost-user:/x", "blkio"],
      ["linux_aio", "/dir/memory:x", "linux_aio"],
      [undefined, "/x", "io_uring"],
    ] as const
  ) {
    assert.equal(parseLoadOptions("randread", target, driver === undefined ? {} : { driver }).driver, wanted);
  }
});
