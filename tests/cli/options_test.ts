/** The command line: fio's words, defaults, and what is refused. */
import assert from "node:assert/strict";
import { normalizeArguments } from "../../cli/arguments.ts";
import { ExitCode } from "../../cli/exit_codes.ts";
import { parseLoadOptions } from "../../cli/load/options.ts";
import { VERSION } from "../../cli/version.ts";
import { loadLibraries, options, refusal, TempFolder } from "./support.ts";

await loadLibraries();

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
    sizeBytes: null,
    offsetBytes: 0,
    direct: false,
    seed: 1,
    batch: "plug",
    wait: "block",
    api: "callback",
    batchCompleteMin: 1,
    readPercent: 100,
    allowDestructive: false,
    outputFormat: "normal",
    outputPath: null,
    trace: false,
  });
});

Deno.test("the promise face batches automatically unless told otherwise", () => {
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

Deno.test("a target can name its driver; --driver wins", () => {
  assert.equal(options("read", "io_uring:/x").driver, "io_uring");
  assert.equal(options("read", "io_uring:/x", { driver: "other" }).driver, "other");
  assert.equal(options("read", "/with:colon").driver, "io_uring");
});

Deno.test("only randrw has a share of reads", () => {
  assert.equal(options("randrw", "f").readPercent, 50);
  assert.equal(options("randrw", "f", { rwmixread: "70" }).readPercent, 70);
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
  assert.deepEqual(normalizeArguments(["--direct=1", "a_b=c_d"]), ["--direct=1", "a_b=c_d"]);
  assert.deepEqual(normalizeArguments(["--", "--direct"]), ["--", "--direct"]);
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
  [["randread", "--batch=all"], /^Cannot use --batch all: wanted none, plug, dispatch, auto$/],
  [["randread", "--wait=spin"], /^Cannot use --wait spin: wanted event, poll, block$/],
  [["randread", "--api=sync"], /^Cannot use --api sync: wanted callback, promise$/],
  [["randread", "--output-format=xml"], /^Cannot use --output-format xml: wanted normal, json$/],
  [["randread", "--seed=-1"], /^Cannot use --seed -1: wanted a whole number from 0 to 4294967295$/],
  [
    ["randread", "--bs=1g", "--iodepth=32"],
    /^Cannot use --bs 1073741824 with --iodepth 32 .*wanted at most 4294967296$/,
  ],
  [["randread", "--iodepth=4", "--iodepth-batch-complete-min=5"], /^Cannot use --iodepth-batch-complete-min 5: wanted/],
  [["randread", "--rwmixread=50"], /^Cannot use option --rwmixread=50: it is unknown/],
  [["randwrite"], /^Cannot write without a target: wanted the path to overwrite$/],
  [["randwrite", "/tmp/x"], /^Cannot run randwrite on \/tmp\/x: it overwrites data, wanted --allow-destructive$/],
  [["write", "/tmp/x"], /^Cannot run write on \/tmp\/x: it overwrites data, wanted --allow-destructive$/],
  [["randrw", "/tmp/x"], /^Cannot run randrw on \/tmp\/x: it overwrites data, wanted --allow-destructive$/],
  [["randread", ""], /^Cannot use target "": wanted a path/],
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
  [(file) => ["randread", `${file}.missing`], 1, /^Cannot open .*\.missing: ENOENT \(no such file or directory\)$/],
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
    (file) => ["randread", file, "--output=/nowhere/x"],
    1,
    /^Cannot write output file \/nowhere\/x: the folder does not/,
  ],
  [
    (file) => ["randread", file, "--output=/tmp"],
    1,
    /^Cannot write output file \/tmp: it is a directory, wanted a reg/,
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
  assert.match(lines.join("\n"), /^Cannot open \/sys\/bus\/platform\/drivers_probe: EACCES \(permission denied\)$/);
  assert.equal(exitCode, ExitCode.failed);
});
