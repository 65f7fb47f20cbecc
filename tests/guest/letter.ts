/**
 * The cover letter's experiment from a guest: fio in a virtual machine reads at random from disks that we serve, each with
 * another way of batching, and the counters of the server say what each way cost for an I/O.
 *
 * The machine is emulated, so that IOPS say nothing about speed: the counters are what is looked at.
 *
 * @module
 */
import { join } from "node:path";
import { type ServedBlk, serveVhostUserBlk } from "../../devices/serve/mod.ts";
import { type BlockDevice, type DeviceBatchMode, openDevice } from "../../mod.ts";
import { Guest } from "./guest.ts";
import { TempDir } from "../support/temp_file.ts";

/** A disk in the guest: how its server batches. */
export interface LetterDisk {
  readonly driver: "io_uring" | "linux_aio";
  /** When the server submits. */
  readonly batch: DeviceBatchMode;
  /** Tell the guest at the end of a section, not with each answer. */
  readonly deferNotify: boolean;
}

/** How the guest's fio submits: all that it has up to `atOnce`. */
export interface LetterLoad {
  readonly depth: number;
  readonly atOnce: number;
}

/** One run of fio. */
export interface LetterRun extends LetterDisk, LetterLoad {
  readonly round: number;
  /** Reads per second, in the guest's time. */
  readonly iops: number;
  /** What the server answered meanwhile; a few reads more than fio's. */
  readonly requests: number;
  /** Passes over the ring. */
  readonly passes: number;
  /** Submits to the kernel. */
  readonly submits: number;
  /** Interrupts sent to the guest. */
  readonly notifications: number;
}

/** What is to be run. */
export interface LetterPlan {
  readonly disks: readonly LetterDisk[];
  readonly loads: readonly LetterLoad[];
  readonly rounds: number;
  /** Reads of a run. */
  readonly reads: number;
}

const IMAGE_BYTES = 64 << 20;
const IMAGE_NAME = "letter.img";

/** Longer than a guest on a busy machine takes for one run. */
const RUN_TIMEOUT_MS = 30_000;

/** Name of the n-th disk in the guest. */
const diskName = (index: number) => `vd${String.fromCharCode("a".charCodeAt(0) + index)}`;

/** A disk and its server, in this process, so that its counters can be read at any time. */
interface Served {
  readonly device: BlockDevice;
  readonly server: ServedBlk;
  readonly socket: string;
}

/**
 * Boots a guest and runs the plan, disks by turns, round after round. Calls `onRun` after each run. Queues are not polled
 * and neighbours not joined: each request is then seen in the counters.
 */
export async function runLetter(plan: LetterPlan, onRun: (run: LetterRun) => void = () => {}): Promise<LetterRun[]> {
  using dir = new TempDir();
  await using stack = new AsyncDisposableStack();
  // Unwritten blocks would be answered without a disk.
  const image = dir.file(IMAGE_NAME, IMAGE_BYTES);
  const served: Served[] = [];
  for (const [index, disk] of plan.disks.entries()) served.push(await serve(stack, dir, image, index, disk));
  const steps = planSteps(plan);
  await using guest = await Guest.start({
    command: ["sh", "-c", script(plan, steps)],
    programs: ["fio"],
    project: false,
    cpus: 1,
    devices: served.map(({ socket }) => ({ kind: "vhost-user-blk", socket, queues: 1 })),
    timeoutMs: RUN_TIMEOUT_MS * (steps.length + 1),
  });
  const runs: LetterRun[] = [];
  let before = await counted(guest, /^ready$/m, served[steps[0]!.disk]!);
  for (const [number, step] of steps.entries()) {
    const after = await counted(guest, new RegExp(`^end ${number} \\d+`, "m"), served[step.disk]!);
    const iops = Number(new RegExp(`^end ${number} (\\d+)`, "m").exec(guest.output())![1]);
    const difference = Object.entries(after).map(([name, count]) => [name, count - before[name]!]);
    const run: LetterRun = {
      ...plan.disks[step.disk]!,
      ...step.load,
      round: step.round,
      iops,
      ...(Object.fromEntries(difference) as Pick<LetterRun, "requests" | "passes" | "submits" | "notifications">),
    };
    runs.push(run);
    onRun(run);
    const next = steps[number + 1];
    if (next !== undefined) before = countersOf(served[next.disk]!);
  }
  const { code, stderr } = await guest.finished();
  if (code !== 0) throw new Error(`Cannot finish the experiment: code ${code}\n${stderr}`);
  return runs;
}

interface Step {
  readonly round: number;
  readonly disk: number;
  readonly load: LetterLoad;
}

function planSteps({ disks, loads, rounds }: LetterPlan): Step[] {
  return Array.from(
    { length: rounds },
    (_, round) => loads.flatMap((load) => disks.map((_, disk) => ({ round, disk, load }))),
  ).flat();
}

async function serve(
  stack: AsyncDisposableStack,
  dir: TempDir,
  image: string,
  index: number,
  { driver, batch, deferNotify }: LetterDisk,
): Promise<Served> {
  const socket = join(dir.path, `${index}.sock`);
  const device = stack.use(await openDevice(image, { driver, batch, direct: true, readOnly: true }));
  const server = stack.use(
    serveVhostUserBlk(device, socket, { deferNotify, poll: false, merge: false, batchRamp: false }),
  );
  return { device, server, socket };
}

/** fio as the letter ran it, but by number of reads. A pause after each run, in which the host reads its counters. */
function script({ reads }: LetterPlan, steps: readonly Step[]): string {
  const runs = steps.map(({ disk, load: { depth, atOnce } }, number) => {
    const options = `--name=letter --filename=/dev/${diskName(disk)} --readonly --rw=randread --bs=4k --direct=1 ` +
      `--ioengine=libaio --iodepth=${depth} --iodepth_batch=${atOnce} --iodepth_batch_complete_min=${atOnce} ` +
      `--iodepth_batch_complete_max=${depth} --number_ios=${reads} --size=${IMAGE_BYTES} --randrepeat=0 --minimal`;
    // Field 8 of the terse format: read IOPS.
    return `fio ${options} >/fio.out; echo "end ${number} $(cut -d ';' -f 8 /fio.out)"; sleep 0.1`;
  });
  return ["set -e", "sleep 0.2", "echo ready", "sleep 0.2", ...runs].join("\n");
}

async function counted(guest: Guest, line: RegExp, served: Served): Promise<Record<string, number>> {
  await guest.until(line);
  return countersOf(served);
}

function countersOf({ device, server }: Served): Record<string, number> {
  const { answers, passes, notifications } = server.stats;
  return { requests: answers, passes, submits: device.stats.submits, notifications };
}

const MODES: readonly DeviceBatchMode[] = ["none", "device", "plug", "dispatch"];

/** The disks of the whole experiment: the four modes over both drivers, and the plug with notifications at once. */
export const LETTER_DISKS: readonly LetterDisk[] = (["io_uring", "linux_aio"] as const).flatMap((driver) => [
  ...MODES.map((batch) => ({ driver, batch, deferNotify: true })),
  { driver, batch: "plug" as const, deferNotify: false },
]);

/** The letter's job, and one that submits as many at once as it has. */
export const LETTER_LOADS: readonly LetterLoad[] = [
  { depth: 1, atOnce: 1 },
  { depth: 8, atOnce: 1 },
  { depth: 32, atOnce: 1 },
  { depth: 128, atOnce: 1 },
  { depth: 8, atOnce: 8 },
  { depth: 32, atOnce: 32 },
];

/** Runs of one disk and load, as rows of Markdown: medians over the rounds, with the range of IOPS. */
export function letterGuestTable(runs: readonly LetterRun[]): string {
  const rows = new Map<string, LetterRun[]>();
  for (const run of runs) {
    const { driver, depth, atOnce, batch, deferNotify } = run;
    const name = `${driver} | ${depth} | ${atOnce} | ${batch} | ${deferNotify ? "deferred" : "at once"}`;
    rows.set(name, [...rows.get(name) ?? [], run]);
  }
  const header = ["driver", "iodepth", "at once", "batch", "notifications", "requests per pass", "submits per I/O"];
  const lines = [...rows].map(([name, all]) => {
    const per = (count: (run: LetterRun) => number, of: (run: LetterRun) => number) =>
      middle(all.map((run) => count(run) / of(run)));
    const iops = all.map((run) => run.iops);
    const cells = [
      per(({ requests }) => requests, ({ passes }) => passes).toFixed(1),
      per(({ submits }) => submits, ({ requests }) => requests).toFixed(3),
      per(({ notifications }) => notifications, ({ requests }) => requests).toFixed(3),
      `${middle(iops).toFixed(0)} (${Math.min(...iops)}–${Math.max(...iops)})`,
    ];
    return `| ${name} | ${cells.join(" | ")} |`;
  });
  const columns = [...header, "notifications per I/O", "IOPS in the guest"];
  return [`| ${columns.join(" | ")} |`, `|${" --- |".repeat(columns.length)}`, ...lines].join("\n") + "\n";
}

function middle(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
