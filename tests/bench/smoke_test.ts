/** The benches run, all of them, so that they cannot rot. Their figures in smoke mode mean nothing. */
import assert from "node:assert/strict";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { DEV_LOCK } from "../../tools/dev_lock.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What `deno bench --json` prints, as far as it is looked at. */
interface BenchReport {
  readonly version: number;
  readonly benches: readonly {
    readonly origin: string;
    readonly group: string | null;
    readonly name: string;
    readonly baseline: boolean;
    readonly results: readonly {
      readonly ok?: { readonly n: number; readonly avg: number };
      readonly failed?: unknown;
    }[];
  }[];
}

/** One case of each kind that a release must not lose. */
const EXPECTED = [
  "plug_bench.ts: 1000 × plugCall of a repeat in a section",
  "sqe_bench.ts: 1000 × read, registered buffer",
  "sqe_bench.ts: 1000 × cancel",
  "nop_bench.ts: 1000 × callback API, run(), depth 1",
  "nop_bench.ts: 1000 × promise API, wait block, depth 32",
  "nop_bench.ts: 1000 × promise API, wait event, depth 32",
  "read_bench.ts: 1000 × node:fs/promises FileHandle.read, depth 32",
  "read_bench.ts: 1000 × Deno.FsFile seekSync and read, depth 1",
  "read_bench.ts: 1000 × node:fs readSync, depth 1",
  "read_bench.ts: 1000 × plugio callback API, run(), depth 32",
  "read_bench.ts: 1000 × plugio promise API, wait event, depth 1",
  "ffi_bench.ts: 1000 × io_uring_enter of 0 entries, as the driver calls it",
  "open_bench.ts: 1000 × Deno.open, read, close, depth 16",
  "open_bench.ts: 1000 × openDevice (io_uring), read, close, depth 1",
  "open_bench.ts: 1000 × openDevice (linux_aio), read, close, depth 16",
  "mode_bench.ts: 1000 × io_uring, mode device",
  "mode_bench.ts: 1000 × io_uring, mode none",
  "latency_bench.ts: 1000 × LatencyCounts.record, each another latency",
  "ffi_bench.ts: 1000 × write to an eventfd",
];

Deno.test("every bench runs, says on what, compares with a baseline and leaves nothing behind", async () => {
  const temporary = Deno.makeTempDirSync({ prefix: "plugio-bench-test-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["bench", "-q", "-P", DEV_LOCK, "--json", "bench"],
      cwd: ROOT,
      env: { PLUGIO_BENCH_SMOKE: "1", NO_COLOR: "1", TMPDIR: temporary },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    const said = decoder.decode(stderr);
    assert.equal(code, 0, said);
    const files = [...Deno.readDirSync(`${ROOT}bench`)].map(({ name }) => name).filter((name) =>
      /_bench\.ts$/.test(name)
    );
    for (
      const line of [/^machine: .+, \d+ cores, .+ of memory$/gm, /^versions: Linux .+, Deno .+$/gm, /^noise: load /gm]
    ) {
      assert.equal(said.match(line)?.length, files.length, said);
    }
    const report: BenchReport = JSON.parse(decoder.decode(stdout));
    assert.equal(report.version, 1);
    for (const { name, results } of report.benches) {
      assert.ok(results.length === 1 && results[0]!.ok!.n >= 1 && results[0]!.ok!.avg > 0, name);
    }
    assert.deepEqual(new Set(report.benches.map(({ origin }) => basename(origin))), new Set(files));
    const groups = Map.groupBy(report.benches, ({ origin, group }) => `${basename(origin)}: ${group}`);
    for (const [group, members] of groups) {
      assert.equal(members.filter(({ baseline }) => baseline).length, 1, group);
      assert.equal(new Set(members.map(({ name }) => name)).size, members.length, group);
    }
    const names = report.benches.map(({ origin, name }) => `${basename(origin)}: ${name}`);
    assert.deepEqual(EXPECTED.filter((name) => !names.includes(name)), []);
    assert.deepEqual([...Deno.readDirSync(temporary)], []);
  } finally {
    Deno.removeSync(temporary, { recursive: true });
  }
});
