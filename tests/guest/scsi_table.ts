/**
 * A request of the virtio-scsi adapter beside one of the virtio-blk disk, in one guest: fio reads by turns from both, over
 * the same file. Prints a table: counters and processor time a request.
 *
 * deno task bench:scsi [--rounds N] [--reads N]
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { runScript, whole } from "../../bench/script.ts";
import { type DiskStats, serveVhostUserBlk, serveVhostUserScsi } from "../../devices/serve/mod.ts";
import { type BlockDevice, openDevice } from "../../mod.ts";
import { print } from "../../tools/say.ts";
import { TempDir } from "../support/temp_file.ts";
import { Guest, median } from "./mod.ts";

const IMAGE_BYTES = 64 << 20;
const LOADS = [{ depth: 1, atOnce: 1 }, { depth: 8, atOnce: 8 }, { depth: 32, atOnce: 32 }] as const;
const RUN_TIMEOUT_MS = 60_000;
/** Runs that are not counted: until then the servers' code is being compiled. */
const WARM_ROUNDS = 2;

/** A served disk, and its name in the guest. */
interface Served {
  readonly name: "virtio-blk" | "virtio-scsi";
  readonly path: string;
  readonly device: BlockDevice;
  readonly stats: DiskStats;
}

interface Figures {
  readonly requests: number;
  readonly passes: number;
  readonly submits: number;
  readonly notifications: number;
  readonly processorUs: number;
}

function figuresOf({ device, stats }: Served): Figures {
  const { user, system } = process.cpuUsage();
  const { answers: requests, passes, notifications } = stats;
  return { requests, passes, submits: device.stats.submits, notifications, processorUs: user + system };
}

async function run(): Promise<void> {
  const { values } = parseArgs({
    options: { rounds: { type: "string", default: "5" }, reads: { type: "string", default: "4096" } },
  });
  const [rounds, reads] = [whole(values, "rounds"), whole(values, "reads")];
  using dir = new TempDir();
  await using stack = new AsyncDisposableStack();
  const image = dir.file("disk.img", IMAGE_BYTES);
  const [blkSocket, scsiSocket] = [join(dir.path, "blk.sock"), join(dir.path, "scsi.sock")];
  const open = async () => stack.use(await openDevice(image, { direct: true, readOnly: true, batch: "plug" }));
  const options = { poll: false, merge: false, batchRamp: false };
  const [first, second] = [await open(), await open()];
  const blk = stack.use(serveVhostUserBlk(first, blkSocket, options));
  const scsi = stack.use(serveVhostUserScsi([{ lun: 0, device: second }], scsiSocket, options));
  const disks: readonly Served[] = [
    { name: "virtio-blk", path: "/dev/vda", device: first, stats: blk.stats },
    { name: "virtio-scsi", path: "/dev/sda", device: second, stats: scsi.stats },
  ];
  const steps = Array.from(
    { length: WARM_ROUNDS + rounds },
    (_, round) => LOADS.flatMap((load) => disks.map((disk) => ({ round, load, disk }))),
  ).flat();
  await using guest = await Guest.start({
    command: ["sh", "-c", script(steps, reads)],
    programs: ["fio"],
    project: false,
    cpus: 1,
    devices: [
      { kind: "vhost-user-blk", socket: blkSocket, queues: 1 },
      { kind: "vhost-user-scsi", socket: scsiSocket, queues: 1 },
    ],
    timeoutMs: RUN_TIMEOUT_MS * (steps.length + 1),
  });
  const seen = new Map<string, Figures[]>();
  await guest.until(/^ready$/m);
  for (const [number, { round, load, disk }] of steps.entries()) {
    const before = figuresOf(disk);
    await guest.until(new RegExp(`^end ${number}$`, "m"));
    const after = figuresOf(disk);
    if (round < WARM_ROUNDS) continue;
    const key = `${load.depth} | ${disk.name}`;
    const names = Object.keys(after) as (keyof Figures)[];
    const difference = Object.fromEntries(
      names.map((name) => [name, after[name] - before[name]]),
    ) as unknown as Figures;
    seen.set(key, [...seen.get(key) ?? [], difference]);
  }
  await guest.finished();
  print(table(seen));
}

function script(steps: readonly { disk: Served; load: (typeof LOADS)[number] }[], reads: number): string {
  const runs = steps.map(({ disk, load: { depth, atOnce } }, number) =>
    `fio --name=t --filename=${disk.path} --readonly --rw=randread --bs=4k --direct=1 --ioengine=libaio ` +
    `--iodepth=${depth} --iodepth_batch=${atOnce} --iodepth_batch_complete_min=${atOnce} ` +
    `--iodepth_batch_complete_max=${depth} --number_ios=${reads} --size=${IMAGE_BYTES} --minimal >/fio.out; ` +
    `echo "end ${number}"; sleep 0.1`
  );
  return ["set -e", "until [ -e /dev/sda ]; do sleep 0.1; done", "echo ready", "sleep 0.2", ...runs].join("\n");
}

function table(seen: ReadonlyMap<string, readonly Figures[]>): string {
  const columns = [
    "depth",
    "device",
    "requests a pass",
    "submits",
    "notifications",
    "processor µs, median (least–most)",
  ];
  const rows = [...seen].map(([key, all]) => {
    const of = (name: keyof Figures) => all.map((figures) => figures[name] / figures.requests);
    const times = of("processorUs");
    const cells = [
      median(all.map(({ requests, passes }) => requests / passes)).toFixed(1),
      median(of("submits")).toFixed(3),
      median(of("notifications")).toFixed(3),
      `${median(times).toFixed(1)} (${Math.min(...times).toFixed(1)}–${Math.max(...times).toFixed(1)})`,
    ];
    return `| ${key} | ${cells.join(" | ")} |`;
  });
  return [`| ${columns.join(" | ")} |`, `|${" --- |".repeat(columns.length)}`, ...rows].join("\n");
}

if (import.meta.main) await runScript(import.meta.url, run);
