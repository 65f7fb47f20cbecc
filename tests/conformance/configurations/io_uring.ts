/**
 * The io_uring driver, in every kind of ring it can make, on files and on a loop device.
 *
 * @module
 */
import type { DeviceOptions } from "../../../mod.ts";
import { loopDevices } from "../../support/loop_device.ts";
import { HAS_TMPFS } from "../../support/tmpfs.ts";
import type { Configuration, Need } from "../configuration.ts";
import { fileTarget, loopTarget } from "./files.ts";

const RINGS: readonly DeviceOptions[] = [
  {},
  { direct: true },
  { wait: "poll" },
  { wait: "poll", direct: true },
  { wait: "block" },
  { wait: "block", direct: true },
  { registered: false },
  { registered: false, direct: true },
  { queueDepth: 1 },
  { queueDepth: 1, direct: true },
  { queueDepth: 7, wait: "block" },
  { queueDepth: 32_768 },
  { batch: "none" },
  { batch: "plug" },
  { batch: "dispatch", direct: true },
  { wakeup: "socketpair" },
  { wakeup: "socketpair", direct: true, wait: "poll" },
];

/** What a ring configuration lacks on a file. */
function lacksOf({ queueDepth = 1024, direct = false, wakeup }: DeviceOptions): Partial<Record<Need, string>> {
  return {
    ...wakeup === "socketpair" && { "exact counts": "the entries of its wake-up count as well" },
    ...queueDepth < 32 && { "sections of 32": `queueDepth ${queueDepth} holds fewer at once` },
    ...direct && { "any size": "direct I/O moves whole blocks" },
    ...direct && { "far targets": "tmpfs, which has such files, may refuse direct I/O" },
    ...HAS_TMPFS !== true && { "far targets": HAS_TMPFS },
  };
}

const ON_FILES = RINGS.map((options): Configuration => ({
  name: `io_uring ${JSON.stringify(options)}`,
  driver: "io_uring",
  ready: true,
  options,
  lacks: lacksOf(options),
  make: fileTarget,
}));

const BLOCK_DEVICE: Partial<Record<Need, string>> = {
  growing: "a block device has a fixed size",
  "any size": "a block device has whole sectors",
  paths: "the files have them already",
  "far targets": "the file behind a loop device ends at 16 TiB",
};

const ON_LOOP = ([{}, { direct: true, wait: "block" }] as const).map((options): Configuration => ({
  name: `io_uring on a loop device ${JSON.stringify(options)}`,
  driver: "io_uring",
  ready: loopDevices(),
  optionalInCi: true,
  options,
  lacks: BLOCK_DEVICE,
  make: loopTarget,
}));

/** The configurations of the io_uring driver. */
export const IO_URING_CONFIGURATIONS: readonly Configuration[] = [...ON_FILES, ...ON_LOOP];
