/**
 * A driver from outside: the mirror of examples/, over files and over memory disks.
 *
 * @module
 */
import { MemoryDisk, type MemoryDiskOptions } from "../../../drivers/testing.ts";
import { mirror, type MirrorOptions } from "../../../examples/mirror.ts";
import { type DeviceOptions, openDevice } from "../../../mod.ts";
import { pattern } from "../../support/temp_file.ts";
import type { Configuration, MadeTarget, TargetRequest } from "../configuration.ts";
import { fileTarget, lacksOnFiles, MISSING_ON_FILES } from "./files.ts";

/** What the mirror lacks wherever it lies. */
const LACKS: Configuration["lacks"] = {
  paths: "its targets are two paths",
  "exact counts": "it counts requests, and its legs what they submit",
  "shared queue": "its counters are its own",
};

/** Opens the mirror; what each leg wants besides comes with the target. */
function open(target: string, options: DeviceOptions & MirrorOptions) {
  return openDevice(target, { ...options, driver: mirror });
}

/** Two files. */
async function twoFiles(request: TargetRequest): Promise<MadeTarget> {
  const [one, two] = [await fileTarget(request), await fileTarget(request)];
  return {
    target: `${one.target},${two.target}`,
    async [Symbol.asyncDispose]() {
      await one[Symbol.asyncDispose]();
      await two[Symbol.asyncDispose]();
    },
  };
}

function onFiles(name: string, options: DeviceOptions, legs: readonly DeviceOptions[] = []): Configuration {
  return {
    name: `mirror of ${name} ${JSON.stringify(options)}`,
    driver: "mirror",
    ready: true,
    options,
    lacks: { ...lacksOnFiles(options), ...LACKS },
    missing: MISSING_ON_FILES,
    make: twoFiles,
    open: (target, more) => open(target, { ...more, legs }),
  };
}

/** Two memory disks, which get their faults once they are full. */
async function twoDisks(
  { byteLength, content }: TargetRequest,
  { faults = [], ...made }: MemoryDiskOptions,
): Promise<MadeTarget> {
  const disks = [new MemoryDisk(byteLength, { ...made, seed: 1 }), new MemoryDisk(byteLength, { ...made, seed: 2 })];
  for (const memory of disks) {
    if (content === "pattern") {
      await using device = await openDevice("memory:filled", { memory });
      await device.write(pattern(0, byteLength), 0);
      await device.flush();
    }
    memory.faults = faults;
  }
  const options: DeviceOptions & MirrorOptions = { legs: disks.map((memory) => ({ memory })) };
  return { target: "memory:one,memory:two", options, [Symbol.asyncDispose]: () => Promise.resolve() };
}

function onDisks(name: string, made: MemoryDiskOptions, options: DeviceOptions = {}): Configuration {
  const fixed = "it lies on disks here";
  return {
    name: `mirror of ${name} ${JSON.stringify(options)}`,
    driver: "mirror",
    ready: true,
    options,
    lacks: { ...LACKS, growing: fixed, "any size": fixed },
    make: (request) => twoDisks(request, made),
    open,
  };
}

/** Everything that the devices below repair by themselves. */
const REPAIRED: MemoryDiskOptions = {
  reorder: true,
  faults: [{ kind: "short", probability: 0.2 }, { kind: "again", probability: 0.2 }, {
    kind: "delay",
    probability: 0.05,
  }],
};

/** The configurations of the mirror. */
export const MIRROR_CONFIGURATIONS: readonly Configuration[] = [
  onFiles("files", {}),
  onFiles("files", { direct: true, wait: "block" }),
  onFiles("a file of io_uring and one of linux_aio", { direct: true }, [{}, { driver: "linux_aio" }]),
  onDisks("memory disks", {}),
  onDisks("memory disks that reorder, cut short and ask again", REPAIRED),
  onDisks("memory disks that reorder, cut short and ask again", REPAIRED, { wait: "block" }),
];
