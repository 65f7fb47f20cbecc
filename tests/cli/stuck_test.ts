/** Runs whose I/O never comes back: a server that was stopped in the middle of it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DRAIN_MS, LoadEngine, type LoadObserver, type LoadOutcome } from "../../cli/load/engine.ts";
import { hasFailed } from "../../cli/load/command.ts";
import type { LoadOptions, RawOptions } from "../../cli/load/options.ts";
import { planJobs } from "../../cli/load/plan.ts";
import { summarize } from "../../cli/load/result.ts";
import type { LiveView } from "../../cli/load/sampler.ts";
import { OpenedTarget } from "../../cli/load/target.ts";
import { hasLibblkio } from "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { hasStorageDaemon, StorageDaemon } from "../support/storage_daemon.ts";
import { options, spawnCli, TempFolder } from "./support.ts";

const LIBRARY = hasLibblkio();
const READY = LIBRARY === true ? hasStorageDaemon() : LIBRARY;

/** Milliseconds for what is in flight here; the command line gives {@link DRAIN_MS}. */
const SHORT_DRAIN_MS = 300;

/** After this a run that should have ended by its own deadline is taken for hung, and its server woken. */
const HUNG_MS = 15_000;

/** Longer than the two seconds after which a job is overdue, and the time of what is in flight. */
const OUTLASTS_MS = 2_000 + 4 * SHORT_DRAIN_MS;

/** A disk of 1 MiB behind a server that can be stopped. */
class StoppableDisk implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly daemon: StorageDaemon;

  private constructor(folder: TempFolder, daemon: StorageDaemon) {
    this.#folder = folder;
    this.daemon = daemon;
  }

  static async start(): Promise<StoppableDisk> {
    const folder = new TempFolder();
    return new StoppableDisk(folder, await StorageDaemon.start(folder.file("disk", 1 << 20)));
  }

  get target(): string {
    return `blkio:virtio-blk-vhost-user:${this.daemon.socket}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    this.#folder[Symbol.dispose]();
  }
}

/** Options of a load on the disk. */
function asked(disk: StoppableDisk, raw: RawOptions): LoadOptions {
  return options("randwrite", disk.target, { iodepth: "4", runtime: "60", driver: "blkio", ...raw });
}

/** Runs a load and stops its server on the first view that `isTime`; `then` is told when that has happened. */
async function runStuck(
  disk: StoppableDisk,
  load: LoadOptions,
  isTime: (view: LiveView) => boolean,
  then: (engine: LoadEngine) => void = () => {},
): Promise<LoadOutcome> {
  await using opened = await OpenedTarget.open(load.target!, load);
  using engine = new LoadEngine(planJobs(load, opened.survey.facts));
  let stuck = false;
  const observer: LoadObserver = {
    sampleMs: 20,
    drainMs: SHORT_DRAIN_MS,
    onSample: (view) => {
      if (stuck || !isTime(view)) return;
      stuck = true;
      disk.daemon.suspend();
      then(engine);
    },
  };
  // A killed server fails what is in flight, so that a run without a deadline ends all the same.
  const rescue = setTimeout(() => void disk.daemon.kill(), HUNG_MS);
  try {
    return await engine.run(observer);
  } finally {
    clearTimeout(rescue);
  }
}

const hasWritten = ({ writeIops }: LiveView) => writeIops > 0;

for (const wait of ["event", "poll", "block"]) {
  testWhen(
    READY,
    `a stop gives a stuck job its time and no more, and its counts are the result, wait ${wait}`,
    async () => {
      await using disk = await StoppableDisk.start();
      const load = asked(disk, { wait });
      let stoppedMs = 0;
      const outcome = await runStuck(disk, load, hasWritten, (engine) => {
        stoppedMs = performance.now();
        engine.stop();
      });
      const lastedMs = performance.now() - stoppedMs;
      assert.ok(lastedMs >= SHORT_DRAIN_MS && lastedMs < HUNG_MS / 2, `it took ${lastedMs} ms`);
      assert.deepEqual(outcome.stuckJobs, [0]);
      const result = summarize(load, outcome);
      assert.equal(result.partial, true);
      assert.equal(hasFailed(result), true);
      assert.ok(result.write.ios > 0, `${result.write.ios} I/Os`);
      assert.deepEqual([result.write.bytes, result.write.latency.total], [result.write.ios * 4096, 0]);
      assert.deepEqual([result.read.ios, result.errorCount], [0, 0]);
    },
  );
}

testWhen(READY, "a stuck job that is not stopped ends a little after its time, and the run has failed", async () => {
  await using disk = await StoppableDisk.start();
  const load = asked(disk, { runtime: "500ms" });
  const outcome = await runStuck(disk, load, hasWritten);
  assert.deepEqual(outcome.stuckJobs, [0]);
  assert.ok(outcome.elapsedMs < HUNG_MS, `it took ${outcome.elapsedMs} ms`);
  assert.equal(hasFailed(summarize(load, outcome)), true);
});

testWhen(READY, "reading back has no deadline of its own, but one after a stop", async () => {
  await using disk = await StoppableDisk.start();
  const load = asked(disk, { runtime: "200ms", verify: "crc32c" });
  let readBackMs = 0;
  const outcome = await runStuck(disk, load, ({ inVerify }) => inVerify, (engine) => {
    readBackMs = performance.now();
    setTimeout(() => engine.stop(), OUTLASTS_MS);
  });
  const lastedMs = performance.now() - readBackMs;
  // The time after the stop is counted in steps, of which one has begun before.
  assert.ok(lastedMs > OUTLASTS_MS && lastedMs < HUNG_MS / 2, `it took ${lastedMs} ms`);
  assert.deepEqual(outcome.stuckJobs, [0]);
});

/** How a process ended. */
interface Interrupted {
  readonly code: number;
  readonly stdout: string;
  /** Milliseconds from the first signal. */
  readonly endedAfterMs: number;
}

/** Starts a load as a process, stops its server once I/O completes, and interrupts it `times` times. */
async function interrupted(disk: StoppableDisk, output: string, times: number): Promise<Interrupted> {
  const load = ["randread", disk.target, "--runtime=60", "--rate-iops=200"];
  const child = spawnCli([...load, "--trace", "--output-format=json", `--output=${output}`]);
  // A branch that stays open, or the last lines would meet a closed pipe.
  const [trace, rest] = child.stderr.tee();
  let completions = 0;
  for await (const lines of trace.pipeThrough(new TextDecoderStream())) {
    completions += lines.split("blkio_process_completion").length - 1;
    if (completions > 20) break;
  }
  disk.daemon.suspend();
  const startMs = performance.now();
  const rescue = setTimeout(() => child.kill("SIGKILL"), HUNG_MS);
  for (let time = 0; time < times; time++) {
    child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  const [status, stdout] = await Promise.all([
    child.status,
    new Response(child.stdout).text(),
    rest.cancel(),
  ]);
  clearTimeout(rescue);
  return { code: status.code, stdout, endedAfterMs: performance.now() - startMs };
}

testWhen(
  READY,
  "Ctrl-C while the disk hangs prints what there is within seconds, marked partial, exit code 130",
  async () => {
    using folder = new TempFolder();
    await using disk = await StoppableDisk.start();
    const output = join(folder.path, "result.json");
    const { code, stdout, endedAfterMs } = await interrupted(disk, output, 1);
    assert.equal(code, 130);
    assert.ok(endedAfterMs >= DRAIN_MS - 500 && endedAfterMs < HUNG_MS, `it took ${endedAfterMs} ms`);
    assert.match(stdout, /Partial result: the run ended after/);
    assert.match(stdout, /Warning: I\/O of job 0 did not come back: its figures lack latencies/);
    const json = JSON.parse(Deno.readTextFileSync(output));
    assert.equal(json.partial, true);
    assert.ok(json.jobs[0].read.total_ios > 0);
  },
);

testWhen(READY, "a second Ctrl-C while the disk hangs ends at once and leaves no file", async () => {
  using folder = new TempFolder();
  await using disk = await StoppableDisk.start();
  const { code, endedAfterMs } = await interrupted(disk, join(folder.path, "result.json"), 2);
  assert.equal(code, 130);
  assert.ok(endedAfterMs < DRAIN_MS - 500, `it took ${endedAfterMs} ms`);
  assert.deepEqual(folder.names(), []);
});
