import { styleText } from "node:util";
import { formatSize } from "../core/base/units.ts";
import {
  type AioReport,
  describeUse,
  type DriverReport,
  type LockedMemoryReport,
  type NbdAllocation,
  type NbdExportReport,
  type ProbeReport,
  type TargetReport,
  type UringFeatures,
  type UringRights,
} from "../drivers/probe.ts";
import { isOnDisk } from "./driver.ts";
import { counted } from "./words.ts";

/** Width of the labels on the left. */
const LABEL_WIDTH = 15;

type Style = "bold" | "dim" | "yellow" | "red" | "green";
type Paint = (style: Style, text: string) => string;

/** A label and what belongs to it; null where there is nothing to tell. */
type Fact = readonly [label: string, text: string | null];

const STATE_STYLES: Readonly<Record<DriverReport["state"], Style>> = {
  works: "green",
  fails: "red",
  "not tested": "yellow",
};

/** The report for people: one block for each driver, one for the target. Ends with a line end. */
export function probeText(report: ProbeReport, styled: boolean): string {
  const paint: Paint = (style, text) => styled ? styleText(style, text, { validateStream: false }) : text;
  const kernel = report.kernel === "" ? "Linux" : `Linux ${report.kernel}`;
  const blocks = [
    [`${kernel} ${report.arch}, Deno ${report.deno}`],
    ...report.drivers.map((driver) => [
      `${paint("bold", driver.driver)}: ${paint(STATE_STYLES[driver.state], driver.state)}`,
      ...rows(driverFacts(driver), paint),
    ]),
    ...report.target === null ? [] : [targetRows(report.target, paint)],
  ];
  return blocks.map((lines) => lines.join("\n")).join("\n\n") + "\n";
}

/** The report on an export of NBD, for people. */
export function exportText(report: NbdExportReport, styled: boolean): string {
  const paint: Paint = (style, text) => styled ? styleText(style, text, { validateStream: false }) : text;
  const { allocation, preferredBlockBytes, structuredReplies, extendedHeaders } = report;
  const facts: Fact[] = [
    ["export", `${JSON.stringify(report.exportName)}, ${formatSize(report.sizeBytes)}`],
    ["described as", report.description],
    ["writes", report.readOnly ? "refused: it is read-only" : "allowed"],
    ["can", report.can.join(", ")],
    [
      "blocks",
      `at least ${formatSize(report.minimumBlockBytes)}, at most ${formatSize(report.maximumPayloadBytes)}` +
      (preferredBlockBytes === 0 ? "" : `, preferably ${formatSize(preferredBlockBytes)}`),
    ],
    [
      "speaks",
      structuredReplies ? `structured replies${extendedHeaders ? ", extended headers" : ""}` : "simple replies",
    ],
    ["allocated", allocation === null ? "the server does not tell" : allocationText(allocation)],
  ];
  return [paint("bold", report.target), ...rows(facts, paint)].join("\n") + "\n";
}

function allocationText({ dataBytes, zeroBytes, extentCount }: NbdAllocation): string {
  return `${formatSize(dataBytes)} of data, ${formatSize(zeroBytes)} of holes or zeroes, ${
    counted(extentCount, "extent")
  }`;
}

function rows(facts: readonly Fact[], paint: Paint): string[] {
  return facts.flatMap(([label, text]) =>
    text === null || text === "" ? [] : [`  ${paint("dim", label.padEnd(LABEL_WIDTH))}${text}`]
  );
}

function driverFacts(driver: DriverReport): Fact[] {
  const { library, features } = driver;
  return [
    ["why", driver.reason],
    ["what to do", driver.remedy],
    ["library", library.foundAs === null ? null : `${library.name}, found as ${library.foundAs}`],
    ["its drivers", driver.variants.join(", ")],
    ["rights", driver.rights === null ? null : rightsText(driver.rights)],
    ["locked memory", driver.lockedMemory === null ? null : memoryText(driver.lockedMemory)],
    ["requests", driver.aio === null ? null : aioText(driver.aio)],
    ...features === null ? [] : featureFacts(features),
    ...driver.notes.map((note): Fact => ["note", note]),
  ];
}

function rightsText({ disabled, group, seccompFilter }: UringRights): string {
  const sysctl = disabled === null
    ? "kernel.io_uring_disabled does not exist"
    : `kernel.io_uring_disabled is ${disabled}`;
  const groupText = group === null ? [] : [`kernel.io_uring_group is ${group}`];
  const filter = seccompFilter === null ? [] : [seccompFilter ? "a seccomp filter is installed" : "no seccomp filter"];
  return [sysctl, ...groupText, ...filter].join(", ");
}

function memoryText({ neededBytes, ringBytes, limitBytes, exempt }: LockedMemoryReport): string {
  const rings = ringBytes === 0 ? "" : ` (${formatSize(ringBytes)} for the rings)`;
  const limit = limitBytes === null ? "no limit" : `limit ${formatSize(limitBytes)}`;
  const exemption = exempt && limitBytes !== null ? " (does not count: CAP_IPC_LOCK)" : "";
  return `need ${formatSize(neededBytes)}${rings} for each device, ${limit}${exemption}`;
}

function aioText({ used, max, needed, readsRing }: AioReport): string {
  const ring = readsRing === null ? "" : `, completions ${readsRing ? "read from the ring" : "by io_getevents"}`;
  return `need ${needed} for each Worker, fs.aio-nr ${used ?? "unknown"} of fs.aio-max-nr ${max ?? "unknown"}${ring}`;
}

function featureFacts(features: UringFeatures): Fact[] {
  const { eventFlags, blockFlags, operations } = features;
  const missing = Object.keys(operations).filter((name) => !operations[name]);
  const known = Object.keys(operations).filter((name) => operations[name]);
  return [
    ["ring, event", eventFlags.join(", ") || "no flags"],
    ["ring, block", blockFlags === null ? "unknown" : blockFlags.join(", ") || "no flags"],
    ["operations", known.join(", ")],
    ["missing", missing.join(", ")],
    ["registers", `files ${yesNo(features.registeredFiles)}, buffers ${yesNo(features.registeredBuffers)}`],
    ["discard", features.discardCommand ? "by io_uring command" : "by fallocate"],
    ["wake-up", features.wakeup],
  ];
}

function targetRows(target: TargetReport, paint: Paint): string[] {
  const isDevice = target.kind === "block device";
  const size = isDevice || target.kind === "regular file" ? ` of ${formatSize(target.sizeBytes)}` : "";
  const facts = isDevice ? deviceFacts(target) : [...fileFacts(target), ...deviceFacts(target)];
  const useful = openedBy(target.kind);
  return [
    `${paint("bold", target.path)}: ${target.kind}${size}`,
    ...useful === null ? [] : [paint("yellow", `  ${useful}`)],
    ...rows([
      ["path", target.realPath === target.path ? null : target.realPath],
      ["access", accessText(target)],
      ["used", usesText(target, paint)],
      ...isOnDisk(target) ? [["direct I/O", directText(target)] as const, ...facts] : [],
    ], paint),
  ];
}

/** A remark where the drivers for files and block devices do not open it; null where they do. */
function openedBy(kind: TargetReport["kind"]): string | null {
  if (kind === "regular file" || kind === "block device") return null;
  if (kind === "socket") return "A server's socket: wanted blkio:virtio-blk-vhost-user:PATH to open it";
  return "No driver opens it: wanted a regular file or a block device";
}

function accessText({ readable, writable, readOnly }: TargetReport): string {
  return `read ${yesNo(readable)}, write ${yesNo(writable)}${readOnly ? " (read-only)" : ""}`;
}

function usesText({ kind, uses }: TargetReport, paint: Paint): string {
  if (uses === null) return paint("yellow", "unknown: /proc or /sys does not tell");
  if (uses.length > 0) return paint("yellow", uses.map((use) => `${use.what} is ${describeUse(use)}`).join("; "));
  return kind === "block device" ? "not mounted, no swap space, held by nothing" : "by nothing of the system";
}

function directText({ directIo, alignment }: TargetReport): string {
  if (directIo === null) return "unknown: wanted Linux 6.1 or later and a file system that tells";
  if (alignment === null) return "refused by the file system";
  return `memory aligned to ${alignment.memory} bytes, offset and length to ${alignment.offset}`;
}

function fileFacts({ fileSystem, holes }: TargetReport): Fact[] {
  const on = fileSystem === null
    ? null
    : `${fileSystem.fileSystem} on ${fileSystem.mountPoint}, from ${fileSystem.source || "nothing"}`;
  return [["file system", on], ["holes", holesText(holes)]];
}

function holesText(holes: TargetReport["holes"]): string {
  if (holes === null) return "unknown";
  const { holeBytes, unwrittenBytes, extentCount } = holes;
  const extents = `${extentCount} extent${extentCount === 1 ? "" : "s"}`;
  if (holeBytes + unwrittenBytes === 0) return `none, ${extents}`;
  return `${formatSize(holeBytes)} of holes and ${formatSize(unwrittenBytes)} unwritten, ${extents}: ` +
    "reads there do not touch the disk";
}

function deviceFacts({ device, kind }: TargetReport): Fact[] {
  if (device === null) return [["device", "unknown"]];
  const { scheduler, requestCount, partitionOf, backingFile } = device;
  const size = device.sizeBytes === null ? "" : ` of ${formatSize(device.sizeBytes)}`;
  const origin = partitionOf === null ? "" : `, a partition of ${partitionOf}`;
  return [
    ["device", kind === "block device" ? `number ${device.deviceNumber}${origin}` : `${device.path}${size}${origin}`],
    ["model", device.model],
    ["backing file", backingFile],
    ["block size", `${device.logicalBlockSize ?? "?"} bytes, physical ${device.physicalBlockSize ?? "?"}`],
    ["scheduler", scheduler === null ? "none of its own" : schedulerText(scheduler)],
    ["nr_requests", requestCount === null ? null : String(requestCount)],
    ["poll queues", device.pollQueues === null ? null : yesNo(device.pollQueues)],
    ["write cache", device.writeCache],
    ["rotational", device.rotational === null ? null : yesNo(device.rotational)],
    ["discard", device.maxDiscardBytes === null ? null : yesNo(device.maxDiscardBytes > 0)],
  ];
}

function schedulerText({ active, available }: { active: string | null; available: readonly string[] }): string {
  const others = available.filter((name) => name !== active);
  return `${active ?? "unknown"}${others.length === 0 ? "" : ` (also ${others.join(", ")})`}`;
}

function yesNo(value: boolean): string {
  return value ? "yes" : "no";
}
