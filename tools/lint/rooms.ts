/**
 * The house: which room a file is in, and from which rooms it may import. The table of docs/ARCHITECTURE.md as code;
 * what is not listed here is an error.
 *
 * @module
 */

import { dirname, join } from "node:path/posix";

/** The entry points by what follows the package's name: `exports` of deno.json. */
export const ENTRY_POINTS: Readonly<Record<string, string>> = {
  "": "mod.ts",
  "/driver": "drivers/driver.ts",
  "/serve": "devices/serve/mod.ts",
  "/probe": "drivers/probe.ts",
  "/nvme": "drivers/nvme_tools.ts",
  "/testing": "drivers/testing.ts",
  "/cli": "cli.ts",
};

/** Name of the package. */
const PACKAGE = "@plugio/plugio";

/** Files at the top of drivers/, or folders, that put the drivers together; a driver cannot import them. */
const DRIVER_SHARED: readonly string[] = [
  "descriptor",
  "built_in",
  "target_driver",
  "registry",
  "driver",
  "probe",
  "nvme_tools",
  "testing",
];

/** The library folder of ffi/ that a driver may use, where it uses one. */
const DRIVER_LIBRARY: Readonly<Record<string, string>> = {
  io_uring: "liburing",
  linux_aio: "libaio",
  blkio: "libblkio",
  nvme: "vfio_nvme",
};

/** The parts of core/ stand on each other in this direction only. */
const CORE_BELOW: Readonly<Record<string, readonly string[]>> = {
  base: [],
  system: ["base"],
  nbd: ["base"],
  plug: ["base"],
  request: ["base"],
  queue: ["base", "plug", "request"],
  device: ["base", "plug", "request", "queue"],
};

/** The part of core/ that the FFI room and the command line build on. */
export const CORE_FOR_ALL = "base";

/** Devices stand on each other in this direction only. */
const DEVICES_BELOW: Readonly<Record<string, readonly string[]>> = {
  guest_memory: [],
  guest_ring: [],
  virtio: ["guest_memory", "guest_ring"],
  disk: ["guest_memory", "guest_ring"],
  virtio_blk: ["guest_memory", "guest_ring", "virtio", "disk"],
  virtio_scsi: ["guest_memory", "guest_ring", "virtio", "disk"],
  xen_block: ["guest_memory", "guest_ring", "disk"],
  vhost_user: ["guest_memory", "guest_ring", "virtio"],
  nbd: [],
  serve: [
    "guest_memory",
    "guest_ring",
    "virtio",
    "disk",
    "virtio_blk",
    "virtio_scsi",
    "xen_block",
    "vhost_user",
    "nbd",
  ],
};

/** A room, and the part of it: the driver, the library, the device. */
interface Room {
  readonly kind: RoomKind;
  readonly part: string;
  /** Whether users import the file. */
  readonly isEntryPoint: boolean;
}

/** The rooms of the house. `ffi` is its shared part, `ffi-lib` one library's folder. */
type RoomKind =
  | "core"
  | "ffi"
  | "ffi-lib"
  | "driver"
  | "descriptor"
  | "drivers"
  | "device"
  | "mod"
  | "cli"
  | "tests"
  | "bench"
  | "examples"
  | "tools";

/** One import: whom, and whether only its types. */
interface ImportEdge {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** The room of a file, by its path from the project's root, or `undefined` if it stands outside the house. */
export function roomOf(path: string): Room | undefined {
  const place = placeOf(path);
  return place && { ...place, isEntryPoint: Object.values(ENTRY_POINTS).includes(path) };
}

function placeOf(path: string): Omit<Room, "isEntryPoint"> | undefined {
  if (path === "mod.ts") return { kind: "mod", part: "" };
  if (path === "cli.ts") return { kind: "cli", part: "" };
  const [top = "", next = "", file = ""] = path.split("/");
  const part = next.replace(/\.ts$/, "");
  const isFolder = path.split("/").length > 2;
  switch (top) {
    case "core":
    case "cli":
    case "tests":
    case "bench":
    case "examples":
    case "tools":
      return { kind: top, part };
    case "ffi":
      return isFolder && part !== "libc" ? { kind: "ffi-lib", part } : { kind: "ffi", part };
    case "drivers":
      if (DRIVER_SHARED.includes(part)) return { kind: "drivers", part };
      return file === "descriptor.ts" ? { kind: "descriptor", part } : { kind: "driver", part };
    case "devices":
      return { kind: "device", part };
    default:
      return undefined;
  }
}

/** Why `from` must not have this import, or `undefined` if it may. Paths are relative to the project's root. */
export function forbidden(from: string, edge: ImportEdge): string | undefined {
  const room = roomOf(from);
  if (room === undefined) return `Cannot place ${from} in the house: expected a folder of tools/lint/rooms.ts`;
  const { specifier } = edge;
  const refuse = (wanted: string) => `Cannot import ${JSON.stringify(specifier)} from ${from}: expected ${wanted}`;
  if (/^(jsr|https?):/.test(specifier)) return refuse("a relative path, node: or an npm package");
  if (specifier.startsWith("node:")) return mayUseNode(room, specifier) ? undefined : refuse(nodeRule(room));
  const path = resolve(from, specifier);
  if (path === undefined) {
    return ["cli", "tests", "bench"].includes(room.kind)
      ? undefined
      : refuse("no package outside cli, tests and bench");
  }
  const target = roomOf(path);
  if (target === undefined) return refuse("a file of this project's rooms");
  return mayImport(room, target, edge.typeOnly) ? undefined : refuse(describe(room));
}

function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith(PACKAGE)) return ENTRY_POINTS[specifier.slice(PACKAGE.length)];
  return /^\.\.?\//.test(specifier) ? join(dirname(from), specifier) : undefined;
}

function mayUseNode(room: Room, specifier: string): boolean {
  if (room.kind === "core") return specifier === "node:diagnostics_channel";
  return room.kind !== "mod";
}

function nodeRule(room: Room): string {
  return room.kind === "core" ? "node:diagnostics_channel only" : "re-exports only";
}

/** The table. Anything not listed is false. */
function mayImport(from: Room, to: Room, typeOnly: boolean): boolean {
  const same = from.kind === to.kind && from.part === to.part;
  switch (from.kind) {
    case "core":
      return same || (to.kind === "core" && (CORE_BELOW[from.part] ?? []).includes(to.part));
    case "ffi":
      return to.kind === "ffi" || (to.kind === "core" && to.part === CORE_FOR_ALL);
    case "ffi-lib":
      return same || to.kind === "ffi" || (to.kind === "core" && to.part === CORE_FOR_ALL);
    case "driver":
      return same || to.kind === "core" || to.kind === "ffi" ||
        (to.kind === "ffi-lib" && to.part === DRIVER_LIBRARY[from.part]);
    case "descriptor":
      // Puts a driver together: what opens a target, and what tries it.
      return to.part === from.part && to.kind === "driver" || ["core", "ffi"].includes(to.kind) ||
        (to.kind === "drivers" && ["descriptor", "probe"].includes(to.part));
    case "drivers":
      return ["core", "ffi", "driver", "descriptor", "drivers"].includes(to.kind) ||
        // The probe asks every library whether it is there.
        (from.part === "probe" && to.kind === "ffi-lib");
    case "device":
      return same || to.kind === "core" || to.kind === "ffi" ||
        (to.kind === "device" && (DEVICES_BELOW[from.part] ?? []).includes(to.part));
    case "mod":
      return ["core", "drivers"].includes(to.kind) || (typeOnly && to.kind === "ffi");
    case "cli":
      return to.kind === "cli" || to.isEntryPoint || (to.kind === "core" && to.part === CORE_FOR_ALL);
    case "examples":
      return to.isEntryPoint || to.kind === "examples";
    case "tools":
      return ["tools", "core", "ffi"].includes(to.kind);
    case "bench":
      return to.kind !== "tools" && to.kind !== "tests";
    case "tests":
      return true;
  }
}

/** What a room may import, for the message. */
function describe(room: Room): string {
  const wanted: Record<RoomKind, string> = {
    core: `its own folder or core's ${(CORE_BELOW[room.part] ?? []).join(", ") || "no other part"}`,
    ffi: `shared ffi or core/${CORE_FOR_ALL}`,
    "ffi-lib": `its own folder, shared ffi or core/${CORE_FOR_ALL}`,
    driver: `core, shared ffi, its own folder or ${DRIVER_LIBRARY[room.part] ?? "no library"}`,
    descriptor: "core, shared ffi, its driver, drivers/descriptor.ts or the probe",
    drivers: "core, shared ffi, the drivers, or from the probe any library",
    device: `core, shared ffi, its own folder or ${(DEVICES_BELOW[room.part] ?? []).join(", ") || "no other device"}`,
    mod: "core, the drivers' shared files, or types of shared ffi",
    cli: `an entry point, core/${CORE_FOR_ALL} or cli`,
    examples: "an entry point",
    tools: "tools, core or shared ffi",
    bench: "anything but tools and tests",
    tests: "anything",
  };
  return wanted[room.kind];
}

/** Whether a file's pointers are expected: only ffi/ handles them, and tests prove it. */
export function mayUseForeignFunctions(path: string): boolean {
  const kind = roomOf(path)?.kind;
  return kind === "ffi" || kind === "ffi-lib" || kind === "tests";
}
