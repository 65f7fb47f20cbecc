/**
 * Runs in the guest: random reads of several targets by turns in one boot, so that a slow moment hits all of them.
 *
 *     deno run -P contest.ts '[{"contenders":[{"target":"/dev/nvme0n1"},{"target":"nvme:0000:00:11.0/1"}]}]'
 *
 * Prints one line of JSON for each contender and depth, with the figure of each round and counters per I/O.
 *
 * @module
 */
import process from "node:process";
import { Random } from "../../../core/base/random.ts";
import { monotonicMs } from "../../../drivers/driver.ts";
import { type BlockDevice, type DeviceOptions, type IoRequest, openDevice, plugged } from "../../../mod.ts";
import { readSystemFile } from "../../../ffi/sysfs.ts";
import type { Contender, ContestPlan, ContestRow, ContestStyle } from "../contest.ts";

const BLOCK_BYTES = 4096;

class Runner {
  readonly device: BlockDevice;
  readonly #buffers: Uint8Array[];
  readonly #random = new Random(1);
  readonly #blocks: number;
  readonly #requests: IoRequest[];
  readonly #style: ContestStyle;
  #unsubmitted = 0;
  #uncompleted = 0;

  constructor(device: BlockDevice, depth: number, style: ContestStyle) {
    this.device = device;
    this.#style = style;
    this.#buffers = device.allocate(depth, BLOCK_BYTES);
    this.#requests = this.#buffers.map((buffer) =>
      device.createRequest({ op: "read", buffer, onComplete: (request, result) => this.#completed(request, result) })
    );
    this.#blocks = Math.floor(device.size / BLOCK_BYTES);
  }

  /** Keeps all buffers busy until `count` reads were done; milliseconds. */
  async round(count: number): Promise<number> {
    const startedMs = monotonicMs();
    if (this.#style === "promises") await this.#promises(count);
    else this.#callbacks(count);
    return monotonicMs() - startedMs;
  }

  #callbacks(count: number): void {
    this.#unsubmitted = this.#uncompleted = count;
    const isDone = () => this.#uncompleted === 0;
    if (this.#style === "callbacks") {
      plugged(() => this.#requests.forEach((request) => this.#next(request)));
      this.device.run(isDone);
      return;
    }
    while (this.#unsubmitted > 0) {
      plugged(() => this.#requests.forEach((request) => this.#next(request)));
      const left = this.#unsubmitted;
      this.device.run(() => this.#uncompleted === left, this.#requests.length);
    }
  }

  #next(request: IoRequest): void {
    if (this.#unsubmitted === 0) return;
    this.#unsubmitted--;
    request.offset = this.#random.below(this.#blocks) * BLOCK_BYTES;
    this.device.submit(request);
  }

  #completed(request: IoRequest, result: number): void {
    if (result !== BLOCK_BYTES) throw new Error(`Cannot read ${this.device.target}: ${result}, wanted ${BLOCK_BYTES}`);
    this.#uncompleted--;
    if (this.#style === "callbacks") this.#next(request);
  }

  async #promises(count: number): Promise<void> {
    let left = count;
    await Promise.all(this.#buffers.map(async (buffer) => {
      while (left-- > 0) await this.device.read(buffer, this.#random.below(this.#blocks) * BLOCK_BYTES);
    }));
  }
}

/** Interrupts so far of the lines of /proc/interrupts that match. */
function interrupts(pattern: string | undefined): number {
  if (pattern === undefined) return 0;
  const lines = (readSystemFile("/proc/interrupts") ?? "").split("\n").filter((line) => new RegExp(pattern).test(line));
  const counts = lines.flatMap((line) => line.split(":")[1]?.match(/^(\s+\d+)+/)?.[0].trim().split(/\s+/) ?? []);
  return counts.reduce((sum, count) => sum + Number(count), 0);
}

/** Processor time of this process so far. */
function processorNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

async function contest(
  { contenders, style = "promises", depths = [1, 32], rounds = 5, reads = 1000 }: ContestPlan,
): Promise<void> {
  for (const depth of depths) {
    await using stack = new AsyncDisposableStack();
    const entries: { contender: Contender; runner: Runner; iops: number[]; counts: number[] }[] = [];
    for (const contender of contenders) {
      const options = { direct: true, readOnly: true, ...contender.options } as DeviceOptions;
      const device = stack.use(await openDevice(contender.target, options));
      const runner = new Runner(device, depth, style);
      await runner.round(reads);
      entries.push({ contender, runner, iops: [], counts: [0, 0, 0, 0, 0] });
    }
    for (let round = 0; round < rounds; round++) {
      for (const { contender, runner, iops, counts } of entries) {
        const { stats } = runner.device;
        const read =
          () => [stats.submits, stats.wakeups, interrupts(contender.interrupts), stats.doorbells, processorNs()];
        const before = read();
        iops.push(reads / await runner.round(reads) * 1000);
        read().forEach((count, index) => counts[index]! += count - before[index]!);
      }
    }
    for (const { contender, iops, counts } of entries) {
      const [submits = 0, wakeups = 0, interruptCount = 0, doorbells = 0, processor = 0] = counts.map((count) =>
        count / (rounds * reads)
      );
      const { target, options } = contender;
      const wait = String(options?.["wait"] ?? "event");
      const counters = { submits, doorbells, processorNs: processor, wakeups, interrupts: interruptCount };
      const row: ContestRow = { style, target, wait, depth, iops, ...counters };
      // deno-lint-ignore no-console -- the answer to the host
      console.log(JSON.stringify(row));
    }
  }
}

for (const plan of JSON.parse(Deno.args[0]!) as ContestPlan[]) await contest(plan);
