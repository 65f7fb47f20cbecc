/**
 * A request of the virtio-scsi adapter beside one of the virtio-blk disk and one of QEMU's own SCSI disk, in one guest: fio
 * reads by turns. Prints a table: counters and the server's processor time a request. QEMU's disk is served in the process
 * that emulates the guest, so that its processor time cannot be told from that of the emulation.
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
/** Of QEMU's disk: the guest tells the two by their sizes. */
const OTHER_BYTES = 65 << 20;
const LOADS = [{ depth: 1, atOnce: 1 }, { depth: 8, atOnce: 8 }, { depth: 32, atOnce: 32 }] as const;
const RUN_TIMEOUT_MS = 60_000;
/** Runs that are not counted: until then the servers' code is being compiled. */
const WARM_ROUNDS = 2;

/** A disk of the guest, and who serves it: null for QEMU. */
interface Contender {
  readonly name: string;
  /** Its name in the guest, in words of the guest's shell. */
  readonly path: string;
  readonly served: { readonly device: BlockDevice; readonly stats: DiskStats } | null;
}

interface Figures {
  readonly passes: number;
  readonly submits: number;
  readonly notifications: number;
  readonly interrupts: number;
  readonly processorUs: number;
}

function figuresOf({ served }: Contender, interrupts: number): Figures {
  const { user, system } = process.cpuUsage();
  const { passes = NaN, notifications = NaN } = served?.stats ?? {};
  const submits = served?.device.stats.submits ?? NaN;
  return { passes, submits, notifications, interrupts, processorUs: served === null ? NaN : user + system };
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
  const disks: readonly Contender[] = [
    { name: "virtio-blk", path: "vda", served: { device: first, stats: blk.stats } },
    { name: "virtio-scsi", path: `$(disk ${IMAGE_BYTES})`, served: { device: second, stats: scsi.stats } },
    { name: "QEMU's scsi-hd", path: `$(disk ${OTHER_BYTES})`, served: null },
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
      { kind: "virtio-scsi", disks: [{ image: dir.file("other.img", OTHER_BYTES) }], queues: 1 },
    ],
    timeoutMs: RUN_TIMEOUT_MS * (steps.length + 1),
  });
  const seen = new Map<string, Figures[]>();
  const interruptsAt = async (step: string) => {
    const line = new RegExp(`^${step} (\\d+)$`, "m");
    await guest.until(line);
    return Number(line.exec(guest.output())![1]);
  };
  let interrupts = await interruptsAt("ready");
  for (const [number, { round, load, disk }] of steps.entries()) {
    const before = figuresOf(disk, interrupts);
    interrupts = await interruptsAt(`end ${number}`);
    const after = figuresOf(disk, interrupts);
    if (round < WARM_ROUNDS) continue;
    const key = `${load.depth} | ${disk.name}`;
    const names = Object.keys(after) as (keyof Figures)[];
    const difference = Object.fromEntries(
      names.map((name) => [name, after[name] - before[name]]),
    ) as unknown as Figures;
    seen.set(key, [...seen.get(key) ?? [], difference]);
  }
  await guest.finished();
  print(table(seen, reads));
}

/** Runs fio step after step; says how many interrupts there have been, and pauses, so that the counters are read. */
function script(steps: readonly { disk: Contender; load: (typeof LOADS)[number] }[], reads: number): string {
  const runs = steps.map(({ disk, load: { depth, atOnce } }, number) =>
    `fio --name=t --filename=/dev/${disk.path} --readonly --rw=randread --bs=4k --direct=1 --ioengine=libaio ` +
    `--iodepth=${depth} --iodepth_batch=${atOnce} --iodepth_batch_complete_min=${atOnce} ` +
    `--iodepth_batch_complete_max=${depth} --number_ios=${reads} --size=${IMAGE_BYTES} --minimal >/fio.out; ` +
    `echo "end ${number} $(irqs)"; sleep 0.1`
  );
  return [
    "set -e",
    `irqs() { awk '/virtio/ { sum += $2 } END { print sum }' /proc/interrupts; }`,
    'disk() { for at in /sys/block/sd*; do [ "$(cat $at/size)" = $(($1 / 512)) ] && basename $at; done; true; }',
    `until [ -n "$(disk ${IMAGE_BYTES})" ] && [ -n "$(disk ${OTHER_BYTES})" ]; do sleep 0.1; done`,
    'echo "ready $(irqs)"',
    "sleep 0.2",
    ...runs,
  ].join("\n");
}

const COLUMNS = ["depth", "disk", "requests a pass", "submits", "notifications", "interrupts", "µs (least–most)"];

function table(seen: ReadonlyMap<string, readonly Figures[]>, reads: number): string {
  const said = (figure: number, digits: number) => Number.isNaN(figure) ? "" : figure.toFixed(digits);
  const rows = [...seen].map(([key, all]) => {
    const of = (name: keyof Figures) => all.map((figures) => figures[name] / reads);
    const times = of("processorUs");
    const spread = `${said(median(times), 1)} (${said(Math.min(...times), 1)}–${said(Math.max(...times), 1)})`;
    const cells = [
      said(1 / median(of("passes")), 1),
      ...(["submits", "notifications", "interrupts"] as const).map((name) => said(median(of(name)), 3)),
      Number.isNaN(times[0]) ? "" : spread,
    ];
    return `| ${key} | ${cells.join(" | ")} |`;
  });
  return [`| ${COLUMNS.join(" | ")} |`, `|${" --- |".repeat(COLUMNS.length)}`, ...rows].join("\n");
}

if (import.meta.main) await runScript(import.meta.url, run);
