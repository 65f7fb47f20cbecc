/**
 * The driver on memory, as a disk and as a file, without faults and with those that a caller must not notice.
 *
 * @module
 */
import { MemoryDisk, type MemoryDiskOptions } from "../../../drivers/testing.ts";
import { pattern } from "../../support/temp_file.ts";
import { type Configuration, Disk, type MadeTarget, type Need, type TargetRequest } from "../configuration.ts";

/** Makes a disk with its content; the faults come afterwards. */
async function makeDisk(request: TargetRequest, options: MemoryDiskOptions): Promise<MadeTarget> {
  const { byteLength, content } = request;
  const { faults = [], ...rest } = options;
  const memory = new MemoryDisk(byteLength, rest);
  const made = { target: "memory:disk", options: { memory }, [Symbol.asyncDispose]: () => Promise.resolve() };
  if (content === "pattern") {
    const plain: Configuration = { ...BLANK, name: "filling", make: () => Promise.resolve(made) };
    await using disk = await Disk.open(plain, request, {});
    await disk.device.write(pattern(0, byteLength), 0);
    await disk.device.flush();
  }
  memory.faults = faults;
  return made;
}

const BLANK = { driver: "memory", ready: true, options: {}, lacks: {} } as const;

/** What the driver lacks in every configuration. */
const LACKS: Readonly<Partial<Record<Need, string>>> = {
  paths: "its targets are names without a file system",
  "shared queue": "each device has a queue of its own, so that it breaks alone",
};
const FIXED = "it behaves like a disk here";

/** One configuration. */
function memory(name: string, disk: MemoryDiskOptions, options: Configuration["options"] = {}): Configuration {
  return {
    ...BLANK,
    name: `memory ${name}`,
    options,
    lacks: {
      ...LACKS,
      ...!disk.growable && { growing: FIXED, "any size": "disks have whole sectors" },
      ...disk.faults && { "exact counts": "its faults make the library submit requests again" },
    },
    make: (request) => makeDisk(request, disk),
  };
}

/** Everything that the library repairs by itself. */
const REPAIRED: MemoryDiskOptions = {
  reorder: true,
  faults: [
    { kind: "short", probability: 0.2 },
    { kind: "again", probability: 0.2 },
    { kind: "delay", probability: 0.05 },
  ],
};

/** The configurations of the memory driver. */
export const MEMORY_CONFIGURATIONS: readonly Configuration[] = [
  memory("disk", {}),
  memory("disk direct", {}, { direct: true }),
  memory("disk of 4 KiB sectors polled", { blockSize: 4096 }, { direct: true, wait: "poll" }),
  memory("file", { growable: true }),
  memory("file blocking", { growable: true }, { wait: "block" }),
  memory("disk that reorders, cuts short and asks again", REPAIRED),
  memory("file that reorders, cuts short and asks again, blocking", { ...REPAIRED, growable: true }, { wait: "block" }),
];
