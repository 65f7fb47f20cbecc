/**
 * Runs in the guest: random reads of several targets by turns in one boot, so that a slow moment hits all of them.
 *
 *     deno run -P contest.ts '{"contenders":[{"target":"/dev/nvme0n1"},{"target":"nvme:0000:00:11.0/1"}],"depths":[1,32]}'
 *
 * Prints one line of JSON for each contender and depth, with the figure of each round and counters per I/O.
 *
 * @module
 */
import { type BlockDevice, monotonicMs, openDevice, type OpenOptions, Random } from "../../../mod.ts";
import { readSystemFile } from "../../../ffi/sysfs.ts";
import type { Contender, ContestPlan, ContestRow } from "../contest.ts";

const BLOCK_BYTES = 4096;

class Runner {
  readonly device: BlockDevice;
  readonly #buffers: Uint8Array[];
  readonly #random = new Random(1);
  readonly #blocks: number;

  constructor(device: BlockDevice, depth: number) {
    this.device = device;
    this.#buffers = device.allocate(depth, BLOCK_BYTES);
    this.#blocks = Math.floor(device.size / BLOCK_BYTES);
  }

  /** Keeps all buffers busy until `count` reads were done; milliseconds. */
  async round(count: number): Promise<number> {
    let left = count;
    const startedMs = monotonicMs();
    await Promise.all(this.#buffers.map(async (buffer) => {
      while (left-- > 0) await this.device.read(buffer, this.#random.below(this.#blocks) * BLOCK_BYTES);
    }));
    return monotonicMs() - startedMs;
  }
}

/** Interrupts so far of the lines of /proc/interrupts that match. */
function interrupts(pattern: string | undefined): number {
  if (pattern === undefined) return 0;
  const lines = (readSystemFile("/proc/interrupts") ?? "").split("\n").filter((line) => new RegExp(pattern).test(line));
  const counts = lines.flatMap((line) => line.split(":")[1]?.match(/^(\s+\d+)+/)?.[0].trim().split(/\s+/) ?? []);
  return counts.reduce((sum, count) => sum + Number(count), 0);
}

async function contest({ contenders, depths = [1, 32], rounds = 5, reads = 1000 }: ContestPlan): Promise<void> {
  for (const depth of depths) {
    await using stack = new AsyncDisposableStack();
    const entries: { contender: Contender; runner: Runner; iops: number[]; counts: number[] }[] = [];
    for (const contender of contenders) {
      const options = { direct: true, readOnly: true, ...contender.options } as OpenOptions;
      const device = stack.use(await openDevice(contender.target, options));
      const runner = new Runner(device, depth);
      await runner.round(reads);
      entries.push({ contender, runner, iops: [], counts: [0, 0, 0] });
    }
    for (let round = 0; round < rounds; round++) {
      for (const { contender, runner, iops, counts } of entries) {
        const { stats } = runner.device;
        const read = () => [stats.submits, stats.wakeups, interrupts(contender.interrupts)];
        const before = read();
        iops.push(reads / await runner.round(reads) * 1000);
        read().forEach((count, index) => counts[index]! += count - before[index]!);
      }
    }
    for (const { contender, iops, counts } of entries) {
      const [submits = 0, wakeups = 0, interruptCount = 0] = counts.map((count) => count / (rounds * reads));
      const row: ContestRow = { target: contender.target, depth, iops, submits, wakeups, interrupts: interruptCount };
      // deno-lint-ignore no-console -- the answer to the host
      console.log(JSON.stringify(row));
    }
  }
}

await contest(JSON.parse(Deno.args[0]!));
