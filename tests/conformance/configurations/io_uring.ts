/**
 * The io_uring driver, in every kind of ring it can make, on files and on a loop device.
 *
 * @module
 */
import type { DeviceOptions } from "../../../mod.ts";
import { loopDevices } from "../../support/loop_device.ts";
import type { Configuration } from "../configuration.ts";
import { BLOCK_DEVICE, fileTarget, lacksOnFiles, loopTarget, MISSING_ON_FILES } from "./files.ts";

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
function lacksOf(options: DeviceOptions): Configuration["lacks"] {
  const chained = options.wakeup === "socketpair";
  return { ...lacksOnFiles(options), ...chained && { "exact counts": "the entries of its wake-up count as well" } };
}

const ON_FILES = RINGS.map((options): Configuration => ({
  name: `io_uring ${JSON.stringify(options)}`,
  driver: "io_uring",
  ready: true,
  options,
  lacks: lacksOf(options),
  missing: MISSING_ON_FILES,
  make: fileTarget,
}));

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
