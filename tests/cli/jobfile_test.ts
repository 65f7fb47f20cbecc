/** Job files of fio: what is read, what is refused with its line, what runs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type FileJob, jobsOf } from "../../cli/jobfile/jobs.ts";
import { parseJobFile, type Surroundings } from "../../cli/jobfile/parse.ts";
import { describeFailure, misuse } from "../../cli/failure.ts";
import type { LoadOptions } from "../../cli/load/options.ts";
import { planJobs } from "../../cli/load/plan.ts";
import { DRIVER_NAMES } from "../../mod.ts";
import { loadLibraries, refusal, runCli, TempFolder } from "./support.ts";

await loadLibraries();

/** Variables and included files of the tests. */
const AROUND: Surroundings = {
  variables: {
    get: (name) => new Map([["DISK", "/dev/disk"], ["EMPTY", ""], ["HALF", "2*4k"]]).get(name),
    words: { pagesize: 4096, ncpus: 3, mb_memory: 1000 },
  },
  include: (name) => {
    const text = INCLUDED[name];
    if (text === undefined) throw misuse(`Cannot read job file ${name}: it does not exist`);
    return { path: name, text };
  },
};

const INCLUDED: Readonly<Record<string, string>> = {
  "depth.fio": "iodepth=7\n",
  "jobs.fio": "[global]\nbs=16k\n[included]\ninclude depth.fio\n",
  "wrong.fio": "iodepth=7\nbs=\n",
  "a.fio": "include b.fio\n",
  "b.fio": "include a.fio\n",
  "self.fio": "include self.fio\n",
  ...Object.fromEntries(Array.from({ length: 14 }, (_, deep) => {
    return [`tree${deep}.fio`, `include tree${deep + 1}.fio\n`.repeat(20)];
  })),
  "tree14.fio": "",
};

function jobs(text: string): FileJob[] {
  return jobsOf(parseJobFile(text, "x.fio", AROUND), "x.fio", true);
}

Deno.test("a global section holds for the jobs after it, and later options win", () => {
  const [first, second] = jobs(`
; a comment
# another
[global]
ioengine=io_uring
bs=8k
direct=1
runtime=30s
time_based
[first]
rw=randread
filename=/dev/a
iodepth = 16
[global]
bs=64K
[second]
blocksize=1m
rw=write
filename=/dev/b
size=2g
`);
  assert.deepEqual([first!.name, first!.options.blockSizeBytes, first!.options.ioDepth], ["first", 8192, 16]);
  assert.deepEqual([first!.options.direct, first!.options.runtimeMs, first!.options.mode], [true, 30_000, "randread"]);
  assert.deepEqual([second!.options.blockSizeBytes, second!.options.target], [1024 ** 2, "/dev/b"]);
  assert.equal(second!.options.sizeBytes, 2 * 1024 ** 3);
  assert.equal(second!.options.ioDepth, 1);
});

Deno.test("stonewall begins a group; without it jobs run together", () => {
  const text = "[global]\nsize=1m\n[a]\n[b]\n[c]\nstonewall\n[d]\n[e]\nwait_for_previous=1\n[f]\nstonewall=0\n";
  assert.deepEqual(jobs(text).map(({ name, group }) => [name, group]), [
    ["a", 0],
    ["b", 0],
    ["c", 1],
    ["d", 1],
    ["e", 2],
    ["f", 2],
  ]);
});

Deno.test("a job without time_based ends after its size, as in fio", () => {
  const [job] = jobs("[a]\nsize=1m\nbs=8k\n");
  assert.deepEqual([plannedIos(job!.options), job!.options.runtimeMs], [128, 7 * 24 * 3_600_000]);
  const [limited] = jobs("[a]\nsize=1m\nnumber_ios=7\nruntime=5\n");
  assert.deepEqual([plannedIos(limited!.options), limited!.options.runtimeMs], [7, 5000]);
  const [timed] = jobs("[a]\nsize=1m\ntime_based=1\nruntime=5\n");
  assert.equal(plannedIos(timed!.options), null);
});

Deno.test("number_ios ends a job earlier than its size, but never later, unless the time ends it", () => {
  const ios = (text: string) => plannedIos(jobs(`[a]\n${text}`)[0]!.options);
  assert.equal(ios("size=8k\nbs=4k\nnumber_ios=100\n"), 2);
  assert.equal(ios("number_ios=9999999\n"), 1024);
  assert.equal(ios("offset=4091k\nbs=1k\nnumber_ios=100\n"), 5);
  assert.equal(ios("size=9k\nbs=4k\nnumber_ios=100\nrw=randread\n"), 2);
  assert.equal(ios("size=8k\nnumber_ios=100\ntime_based\nruntime=5\n"), 100);
});

Deno.test("io_size and loops say how much a job does of its range, and startdelay when it starts", () => {
  const read = (lines: string) => jobs(`[a]\nbs=4k\n${lines}\n`)[0]!.options;
  assert.equal(plannedIos(read("size=8k\nio_size=40k")), 10);
  assert.equal(plannedIos(read("size=8k\nio_size=41k")), 11);
  assert.equal(plannedIos(read("size=8k\nloops=3")), 6);
  assert.equal(plannedIos(read("size=8k\nio_limit=12k\nloops=2\nnumber_ios=5")), 5);
  assert.equal(plannedIos(read("size=50%\nloops=2")), 1024);
  assert.equal(read("size=8k\nstartdelay=250ms").startDelayMs, 250);
});

Deno.test("rw=rw and rw=readwrite are one mode, with a share of writes or of reads", () => {
  const read = (lines: string) => jobs(`[a]\nsize=1m\nfilename=/x\n${lines}\n`)[0]!.options;
  assert.deepEqual([read("rw=rw").mode, read("rw=readwrite\nrwmixwrite=20").readPercent], ["rw", 80]);
});

Deno.test("a delayed job runs after the others, and its own time begins then", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 65_536);
  const file = join(folder.path, "jobs.fio");
  Deno.writeTextFileSync(
    file,
    `[global]\nfilename=${target}\nbs=4k\n[now]\nrw=rw\nio_size=256k\n[later]\nrw=read\nstartdelay=300ms\nloops=2\n`,
  );
  const begun = performance.now();
  const { code, stdout, stderr } = await runCli(["run", file, "--allow-destructive", "--output-format=json"]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.ok(performance.now() - begun >= 300);
  const [now, later] = JSON.parse(stdout).jobs;
  assert.equal(now.read.total_ios + now.write.total_ios, 64);
  assert.ok(now.read.total_ios > 0 && now.write.total_ios > 0);
  assert.equal(later.read.total_ios, 32);
});

Deno.test("a job with neither size nor time goes over its target once, as in fio", () => {
  assert.equal(plannedIos(jobs("[a]\nbs=4k\n")[0]!.options), 1024);
});

Deno.test("the options of a load are read under fio's names", () => {
  const [job] = jobs(`[a]
rw=randwrite
filename=/dev/a
randseed=7
size=1g
numjobs=2
norandommap
verify=crc32c
ss=iops:2%
ss_dur=5
percentile_list=50:99
log_avg_msec=100
group_reporting
`);
  const { options } = job!;
  assert.deepEqual([options.seed, options.jobCount, options.randomMap, options.verify], [7, 2, false, true]);
  assert.equal(options.steadyState?.durationMs, 5000);
  assert.deepEqual([options.percentiles, options.sampleMs], [[50, 99], 100]);
});

/** I/Os after which each job ends, on a target of 4 MiB. */
function plannedIos(asked: LoadOptions): number | null {
  const facts = { target: "f", sizeBytes: 4 << 20, offsetAlignBytes: 1, maxInflight: 64, oneOwner: false };
  return planJobs(asked, facts)[0]!.numberIos;
}

const HEAD = "[a]\nsize=1m\n";

const REFUSED: readonly (readonly [text: string, line: RegExp])[] = [
  [`${HEAD}zonemode=zbd`, /^Cannot use zonemode=zbd of x\.fio:3: plugio does not support it, wanted the line removed$/],
  [`${HEAD}iodpeth=3`, /^Cannot use iodpeth=3 of x\.fio:3: plugio does not support it/],
  [`${HEAD}exitall`, /^Cannot use exitall of x\.fio:3: plugio does not support it/],
  [`${HEAD}ioengine=psync`, /^Cannot use ioengine=psync of x\.fio:3: there is no driver for it, wanted .*io_uring/],
  [`${HEAD}ioengine=nonsense`, /^Cannot use ioengine=nonsense of x\.fio:3: there is no driver for it/],
  [`${HEAD}rw=randtrim`, /^Cannot use rw=randtrim of x\.fio:3: wanted randread, randwrite, read, write, randrw, rw$/],
  [`${HEAD}rw=randread:8`, /^Cannot use rw=randread:8 of x\.fio:3: wanted randread/],
  [`${HEAD}filename=/a:/b`, /^Cannot use filename=\/a:\/b of x\.fio:3: wanted one path$/],
  [
    `${HEAD}filename=\${GONE}`,
    /^Cannot use filename=\$\{GONE\} of x\.fio:3: GONE is not set, or kept back by -P, wanted it set$/,
  ],
  [`${HEAD}filename=\${}`, /^Cannot use filename=\$\{\} of x\.fio:3: a variable without a name is not set, or kept/],
  [`${HEAD}bs=(4k`, /^Cannot read --bs "\(4k": wanted bytes/],
  [`${HEAD}bs=(4k*)`, /^Cannot use bs=\(4k\*\) of x\.fio:3: \) stands where it cannot, wanted numbers with/],
  [`${HEAD}bs=((4k)`, /^Cannot use bs=\(\(4k\) of x\.fio:3: it ends too early, wanted numbers with/],
  [`${HEAD}bs=(4q)`, /^Cannot use bs=\(4q\) of x\.fio:3: 4q stands where it cannot/],
  [`${HEAD}bs=(1/0)`, /^Cannot use bs=\(1\/0\) of x\.fio:3: it makes Infinity, wanted a whole number/],
  [`${HEAD}bs=(1-2)`, /^Cannot use bs=\(1-2\) of x\.fio:3: it makes -1, wanted a whole number/],
  [`${HEAD}kb_base=512`, /^Cannot use kb_base=512 of x\.fio:3: wanted 1000, 1024$/],
  [`${HEAD}direct=2`, /^Cannot use direct=2 of x\.fio:3: wanted 0, 1$/],
  [`${HEAD}bs`, /^Cannot use bs of x\.fio:3: wanted bs=VALUE$/],
  [`${HEAD}bs=4q`, /^Cannot read --bs "4q": wanted bytes .* \(job a of x\.fio:1\)$/],
  [`${HEAD}iodepth=0`, /^Cannot use --iodepth 0: wanted a whole number .* \(job a of x\.fio:1\)$/],
  [`${HEAD}rwmixread=70`, /^Cannot use rwmixread=70 of x\.fio:3: wanted rw=randrw or rw=rw with it$/],
  [`${HEAD}verify=crc32c`, /^Cannot use verify=crc32c of x\.fio:3: wanted rw=write or rw=randwrite with it$/],
  [`${HEAD}rw=randrw\nfilename=/a\nrate_iops=9`, /^Cannot use rate_iops=9 of x\.fio:5: wanted rw=randread, /],
  [`${HEAD}norandommap`, /^Cannot use norandommap of x\.fio:3: wanted rw=randread, randwrite or randrw with it$/],
  [`${HEAD}rw=write`, /^Cannot run job a of x\.fio:1: it overwrites data, wanted filename=PATH$/],
  [`${HEAD}time_based`, /^Cannot use time_based of x\.fio:3: wanted runtime=TIME as well$/],
  [
    `${HEAD}ramp_time=5`,
    /^Cannot use --ramp-time without time_based: the ramp would use up the I\/Os of the size, wanted both \(job a of/,
  ],
  ["bs=4k\n[a]", /^Cannot read x\.fio:1: bs=4k stands before any heading, wanted \[global\] or a job's name$/],
  ["[a", /^Cannot read x\.fio:1: \[a is no heading, wanted \[NAME\]$/],
  ["[]", /^Cannot read x\.fio:1: \[\] is no heading/],
  [`${HEAD}= 3`, /^Cannot read x\.fio:3: = 3 is no option, wanted NAME=VALUE$/],
  [`${HEAD}include other.fio`, /^Cannot read job file other\.fio: it does not exist \(included at x\.fio:3\)$/],
  [`${HEAD}include wrong.fio`, /^Cannot read wrong\.fio:2: bs has no value, wanted bs=VALUE$/],
  [
    `${HEAD}include self.fio`,
    /^Cannot include self\.fio at self\.fio:1: .*\(self\.fio → self\.fio\), wanted no circle$/,
  ],
  [`${HEAD}include a.fio`, /^Cannot include a\.fio at b\.fio:1: .*\(a\.fio → b\.fio → a\.fio\), wanted no circle$/],
  [
    `${HEAD}include tree0.fio`,
    /^Cannot include tree\d+\.fio at tree\d+\.fio:\d+: it is include 257, wanted at most 256$/,
  ],
  ["[a\nrw=read\nbs=4k\n", /^Cannot read x\.fio:1: \[a is no heading, wanted \[NAME\]$/],
  [
    `${HEAD}bs=${"(".repeat(3000)}4k${")".repeat(3000)}`,
    /: its parts lie too deep, wanted at most 100 inside each other$/,
  ],
  [`${HEAD}bs=(${"2^".repeat(3000)}2)`, /: its parts lie too deep, wanted at most 100 inside each other$/],
  [`${HEAD}bs=(${"-".repeat(7001)}4k)`, /: it makes -4096, wanted a whole number below 2\^53$/],
  [`${HEAD}bs=${"4".repeat(9000)}`, /^Cannot read x\.fio:3: it has 9003 characters, wanted at most 8192$/],
  [`${HEAD}bs=`, /^Cannot read x\.fio:3: bs has no value, wanted bs=VALUE$/],
  ["# nothing\n[global]\nbs=4k", /^Cannot run x\.fio: it has no job, wanted a heading such as \[randread\]$/],
  [
    `${HEAD}ioengine=libaio\nfilename=memory:1m`,
    /prefix names driver memory, wanted one of the two \(job a of x\.fio:1\)$/,
  ],
  [`[global]\nsize=1m\nnumjobs=200\n[a]\n[b]`, /^Cannot run x\.fio: 400 Workers at once, wanted at most 256$/],
];

for (const [text, line] of REFUSED) {
  Deno.test(`refused in one line: ${JSON.stringify(text).slice(0, 200)}`, () => {
    assert.throws(() => jobs(text), (error: Error & { exitCode?: number }) => {
      assert.match(error.message, line);
      assert.equal(error.exitCode, 2);
      return true;
    });
  });
}

Deno.test("all that is wrong is said at once, each with its own line", () => {
  const text = "[global]\nzonemode=zbd\n[a]\nexitall\nbs=\n[b\n[c]\nnot an option\n";
  const linesOf = (text: string) => {
    try {
      jobs(text);
      return [];
    } catch (error) {
      return describeFailure(error, false).lines;
    }
  };
  assert.deepEqual(linesOf(text), [
    "Cannot read x.fio:5: bs has no value, wanted bs=VALUE",
    "Cannot read x.fio:6: [b is no heading, wanted [NAME]",
    "Cannot read x.fio:8: not an option is no option, wanted NAME=VALUE",
  ]);
  // What [global] says is said once, however many jobs have it.
  assert.deepEqual(linesOf("[global]\nzonemode=zbd\nsize=1m\n[a]\nexitall\n[b]\nrw=trim\n[c]\nrw=trim\n"), [
    "Cannot use zonemode=zbd of x.fio:2: plugio does not support it, wanted the line removed",
    "Cannot use exitall of x.fio:5: plugio does not support it, wanted the line removed",
  ]);
  assert.deepEqual(linesOf("[a]\nrw=trim\n[b]\nsize=1m\n[c]\nbs=4q\n"), [
    "Cannot use rw=trim of x.fio:2: wanted randread, randwrite, read, write, randrw, rw",
    'Cannot read --bs "4q": wanted bytes with an optional suffix k, m, g or t (job c of x.fio:5)',
  ]);
});

Deno.test("a comment ends a value, any heading with global is global, and name renames, as in fio", () => {
  const [first, second] = jobs(
    "[globals of all]\nbs=8k;4k\nsize=1m # of 2m\n[a]\nname=renamed\n[b]\nbs = 16k ; x # y\n",
  );
  assert.deepEqual([first!.name, first!.options.blockSizeBytes, first!.options.sizeBytes], ["renamed", 8192, 1 << 20]);
  assert.deepEqual([second!.name, second!.options.blockSizeBytes], ["b", 16_384]);
});

Deno.test("KiB counts in thousands, and says so, unless kb_base says otherwise: fio's rule", () => {
  const read = (lines: string) => {
    const [{ options, notes }] = jobs(`[a]\n${lines}\n`) as [FileJob];
    return [options.blockSizeBytes, options.sizeBytes, notes];
  };
  assert.deepEqual(read("bs=4KiB\nsize=1MiB"), [4000, 1_000_000, [
    "Note: bs=4KiB is 4000 bytes, as in fio with kb_base=1024 (x.fio:2)",
    "Note: size=1MiB is 1000000 bytes, as in fio with kb_base=1024 (x.fio:3)",
  ]]);
  assert.deepEqual(read("bs=4Ki\nsize=1mb"), [4096, 1 << 20, []]);
  assert.deepEqual(read("kb_base=1000\nbs=4KiB\nsize=1M"), [4096, 1_000_000, [
    "Note: size=1M is 1000000 bytes, as in fio with kb_base=1000 (x.fio:4)",
  ]]);
});

Deno.test("variables, fio's own words and sums stand for values", () => {
  const options = (line: string) => jobs(`[a]\nsize=1m\n${line}\n`)[0]!.options;
  assert.equal(options("filename=\${DISK}1").target, "/dev/disk1");
  assert.equal(options("filename=/a\${EMPTY}/b").target, "/a/b");
  assert.equal(options("bs=$pagesize").blockSizeBytes, 4096);
  assert.equal(options("numjobs=$ncpus").jobCount, 3);
  assert.equal(options("filename=/a/$other").target, "/a/$other");
  assert.equal(options("bs=(\${HALF})").blockSizeBytes, 8192);
  assert.equal(options("iodepth=(2+3*4)").ioDepth, 14);
  assert.equal(options("iodepth=((2+3)*4-7%4)").ioDepth, 17);
  assert.equal(options("iodepth=(2^3^1/3)").ioDepth, 2);
  assert.equal(options("size=((-1+2)*1k)\nbs=(512)").blockSizeBytes, 512);
});

Deno.test("the permission set of job files is that of the command line, with the whole environment", () => {
  const { permissions, tasks } = JSON.parse(Deno.readTextFileSync(new URL("../../deno.json", import.meta.url)));
  assert.deepEqual(permissions.jobfile, { ...permissions.default, env: true });
  assert.match(tasks.run.command, / -P=jobfile cli\.ts run$/);
});

Deno.test("include reads another file in its place, options and jobs", () => {
  const [first, included, last] = jobs("[a]\nsize=1m\ninclude depth.fio\nbs=8k\ninclude jobs.fio\n[z]\nsize=2m\n");
  assert.deepEqual([first!.options.ioDepth, first!.options.blockSizeBytes], [7, 8192]);
  assert.deepEqual([included!.name, included!.options.ioDepth, included!.options.blockSizeBytes], [
    "included",
    7,
    16_384,
  ]);
  assert.deepEqual([last!.name, last!.options.blockSizeBytes], ["z", 16_384]);
});

Deno.test("buffered is the other side of direct", () => {
  const direct = (line: string) => jobs(`[a]\nsize=1m\n${line}\n`)[0]!.options.direct;
  assert.deepEqual([direct("buffered=0"), direct("buffered"), direct("buffered=1"), direct("")], [
    true,
    false,
    false,
    false,
  ]);
});

Deno.test("the prefix of filename chooses the driver where no ioengine does", () => {
  const driverOf = (lines: string) => jobs(HEAD + lines)[0]!.options.driver;
  assert.equal(driverOf("filename=memory:64MiB"), "memory");
  assert.equal(driverOf("filename=blkio:virtio-blk-vhost-user:/run/disk.sock"), "blkio");
  assert.equal(driverOf("ioengine=libblkio\nfilename=blkio:io_uring:/x"), "blkio");
  assert.equal(driverOf("filename=/x"), "io_uring");
});

for (const [engine, driver] of [["libaio", "linux_aio"], ["libblkio", "blkio"]] as const) {
  Deno.test(`ioengine=${engine} is the driver ${driver} where there is one, and refused by name where not`, () => {
    const text = `${HEAD}ioengine=${engine}`;
    if (DRIVER_NAMES.includes(driver)) return assert.equal(jobs(text)[0]!.options.driver, driver);
    assert.throws(
      () => jobs(text),
      new RegExp(`ioengine=${engine} of x\\.fio:3: this version has no driver ${driver}`),
    );
  });
}

Deno.test("a dry run lists what would run and touches nothing", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 65_536);
  const file = join(folder.path, "jobs.fio");
  Deno.writeTextFileSync(
    file,
    `[global]\nfilename=${target}\nsize=64k\nthread\n[r]\nrw=randread\n[w]\ninvalidate=0\nstonewall\nrw=write\n`,
  );
  const { code, stdout, stderr } = await runCli(["run", file, "--dry-run"]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.deepEqual(stdout.trimEnd().split("\n"), [
    `group 0: [r] randread ${target}, io_uring, bs 4KiB, depth 1, 1 job, buffered, 16 I/Os a job, unchanged by thread, ` +
    "cached pages stay, which fio drops without invalidate=0",
    `group 1: [w] write ${target}, io_uring, bs 4KiB, depth 1, 1 job, buffered, 16 I/Os a job, overwrites data, ` +
    "unchanged by thread",
  ]);
  assert.ok(Deno.readFileSync(target).every((byte) => byte === 0x5a));
});

Deno.test("jobs run group after group, and their figures are the jobs of one document", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 1024 ** 2);
  const file = join(folder.path, "jobs.fio");
  Deno.writeTextFileSync(
    file,
    `[global]\nfilename=${target}\nsize=1m\nbs=4k\n[write]\nrw=randwrite\n[a]\nstonewall\nrw=randread\n[b]\nrw=read\nbs=8k\n`,
  );
  const { code, stdout, stderr } = await runCli(["run", file, "--allow-destructive", "--output-format=json"]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  const json = JSON.parse(stdout);
  assert.equal(json.partial, false);
  interface Entry {
    readonly jobname: string;
    readonly groupid: number;
    readonly read: { readonly total_ios: number };
    readonly write: { readonly total_ios: number };
  }
  const seen = (json.jobs as Entry[]).map(({ jobname, groupid, read, write }) => [
    jobname,
    groupid,
    read.total_ios,
    write.total_ios,
  ]);
  assert.deepEqual(seen, [["write", 0, 0, 256], ["a", 1, 256, 0], ["b", 1, 128, 0]]);
  // The random map writes every block once.
  const bytes = Deno.readFileSync(target);
  for (let at = 0; at < bytes.length; at += 4096) {
    assert.ok(bytes.subarray(at, at + 4096).some((byte) => byte !== 0x5a), `block at ${at} was not written`);
  }
});

Deno.test("a job that overwrites data wants --allow-destructive, before anything runs", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 65_536);
  const file = join(folder.path, "jobs.fio");
  Deno.writeTextFileSync(file, `[global]\nfilename=${target}\nsize=64k\n[r]\nrw=read\n[w]\nrw=write\n`);
  const { lines, exitCode } = await refusal("run", file);
  assert.equal(exitCode, 2);
  assert.match(lines[0]!, /^Cannot run write on .*: it overwrites data, wanted --allow-destructive \(job w of .*:6\)$/);
});

Deno.test("a job file that is missing, or is none, is one line", async () => {
  const missing = await refusal("run", "/nowhere/x.fio");
  assert.deepEqual(missing.lines, ["Cannot read job file /nowhere/x.fio: it does not exist, wanted the path of one"]);
  assert.equal(missing.exitCode, 1);
  assert.match(
    (await refusal("run", "/tmp")).lines[0]!,
    /^Cannot read job file \/tmp: wanted a regular file of at most/,
  );
  assert.deepEqual((await refusal("run")).lines, ["Cannot run without a job file: wanted its path"]);
});

Deno.test("a job that writes where another one of its group verifies is refused, by any name of the target", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 256 * 1024);
  const link = join(folder.path, "link");
  Deno.linkSync(target, link);
  const file = join(folder.path, "jobs.fio");
  const head = "[global]\nrw=randwrite\nbs=4k\niodepth=4\nsize=128k\n[a]\nverify=crc32c\n";
  const run = (rest: string) => {
    Deno.writeTextFileSync(file, `${head}filename=${target}\n${rest}`);
    return runCli(["run", file, "--allow-destructive"]);
  };
  const refused = [
    `[b]\nfilename=${target}\n`,
    `[b]\nfilename=${link}\nverify=crc32c\noffset=124k\n`,
    `[c]\nfilename=linux_aio:${link}\n`,
  ];
  for (const rest of refused) {
    const { code, stderr } = await run(rest);
    assert.match(
      stderr,
      /^Cannot run job a with job [bc]: it reads back what it writes to .*, wanted ranges apart.*\n$/,
    );
    assert.equal(code, 2);
  }
  assert.ok(Deno.readFileSync(target).every((byte) => byte === 0x5a));
  const taken = [
    `[b]\nfilename=${target}\noffset=128k\nverify=crc32c\n`,
    `[b]\nstonewall\nfilename=${target}\n`,
    `[b]\nrw=read\nfilename=${link}\n`,
  ];
  for (const rest of taken) {
    const { code, stderr } = await run(rest);
    assert.equal(stderr, "");
    assert.equal(code, 0, rest);
  }
});

Deno.test("a job file that cannot be read is one line, whatever the file system says", async () => {
  using folder = new TempFolder();
  const file = folder.file("jobs.fio", 1);
  const loop = `${folder.path}/loop.fio`;
  Deno.symlinkSync("loop.fio", loop);
  for (
    const [path, cause] of [
      [`${folder.path}/${"x".repeat(300)}.fio`, /file name too long/],
      [loop, /too many levels of symbolic links/],
      [`${file}/below.fio`, /not a directory/],
    ] as const
  ) {
    const { code, stderr } = await runCli(["run", path, "--dry-run"]);
    assert.match(stderr, /^Cannot read job file [^\n]*, wanted a regular file that can be read\n$/);
    assert.match(stderr, cause);
    assert.equal(code, 1);
  }
});
