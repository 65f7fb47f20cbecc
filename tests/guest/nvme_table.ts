/**
 * The NVMe driver next to the kernel's, each on a controller of its own, by turns in one boot of the guest: the table of
 * docs/nvme.md. The controllers are emulated: no figure is that of a drive.
 *
 * deno run -P=test tests/guest/nvme_table.ts [--instructions]
 *
 * @module
 */
import { nativeFileName } from "../../ffi/native.ts";
import { type ContestPlan, type GuestDevice, handToVfio, median, pciAddress, runContest, VFIO_MODULES } from "./mod.ts";
import { TempDir } from "../support/temp_file.ts";
import { buildNative } from "../../tools/build_nvme.ts";
import { print } from "../../tools/say.ts";

const NAMESPACE_BYTES = 64 << 20;
const COUNT_INSTRUCTIONS = Deno.args.includes("--instructions");
/** A count needs fewer rounds than a time. */
const ROUNDS = COUNT_INSTRUCTIONS ? 6 : 9;

using dir = new TempDir();
const devices = ["kernel", "own"].map((name): GuestDevice => ({
  kind: "nvme",
  namespaces: [{ image: dir.sparse(name, NAMESPACE_BYTES) }],
}));
const target = `nvme:${pciAddress(devices, 1)}/1`;

/** What is read by turns: the kernel's driver is waited for in the kernel, ours by interrupt and by looking. */
const contenders: ContestPlan["contenders"] = [
  { target: "/dev/nvme0n1", options: { wait: "block" }, interrupts: "nvme0q[1-9]" },
  { target, options: { wait: "block" }, interrupts: "vfio-msix" },
  { target, options: { wait: "poll" }, interrupts: "vfio-msix" },
];

const PLANS: readonly Omit<ContestPlan, "contenders">[] = [
  { style: "callbacks", depths: [1], rounds: ROUNDS, reads: 1000 },
  { style: "callbacks", depths: [32], rounds: ROUNDS, reads: 4000 },
  { style: "sections", depths: [32], rounds: ROUNDS, reads: 4000 },
];

const built = await buildNative("vfio_nvme");
if ("failure" in built) throw new Error(built.failure);
const job = {
  devices,
  iommu: true,
  modules: VFIO_MODULES,
  libraries: [nativeFileName("vfio_nvme")!],
  countInstructions: COUNT_INSTRUCTIONS,
  cpus: COUNT_INSTRUCTIONS ? 1 : 2,
  timeoutMs: 140_000,
};
const prepare = handToVfio(pciAddress(devices, 1));
const rows = await runContest(PLANS.map((plan) => ({ ...plan, contenders })), job, prepare);

const header = [
  "reads",
  "depth",
  "driver",
  "waits by",
  COUNT_INSTRUCTIONS ? "instructions" : "IOPS, median (least–most)",
  "SQ doorbells or enters",
  "CQ doorbells",
];
print(`| ${[...header, "interrupts"].join(" | ")} |`);
print(`|${" --- |".repeat(header.length + 1)}`);
for (const { style, target, wait, depth, iops, submits, doorbells, processorNs, interrupts } of rows) {
  const own = target.startsWith("nvme:");
  const whole = (figure: number) => Math.round(figure).toLocaleString("en");
  const perIo = (count: number) => count.toFixed(3);
  print(`| ${
    [
      style,
      depth,
      own ? "ours" : "kernel's, io_uring",
      wait,
      COUNT_INSTRUCTIONS
        ? whole(processorNs)
        : `${whole(median(iops))} (${whole(Math.min(...iops))}–${whole(Math.max(...iops))})`,
      perIo(submits),
      own ? perIo(doorbells - submits) : "–",
      perIo(interrupts),
    ].join(" | ")
  } |`);
}
