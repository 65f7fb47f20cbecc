/**
 * The nbd driver over servers that others wrote: nbdkit in memory and on a file, qemu-nbd on a raw file and on qcow2.
 *
 * @module
 */
import { join } from "node:path";
import { type DeviceOptions, openDevice } from "../../../mod.ts";
import { hasNbdkit, hasQemuNbd, NbdServer } from "../../support/nbd_server.ts";
import { ServedDisk } from "../../support/served_disk.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";
import type { Configuration, MadeTarget, TargetRequest } from "../configuration.ts";
import { fileTarget } from "./files.ts";

/** What an export lacks on any server. */
const LACKS: Configuration["lacks"] = {
  growing: "an export has a fixed size",
  "shared queue": "each device has connections of its own, and breaks alone",
  paths: "an address stands for the path",
};

/** What a server with files behind it adds to that. */
const ON_FILES: Configuration["lacks"] = {
  ...LACKS,
  "far targets": "the files behind it are not on tmpfs",
  "any size": "a server of files may round them up to sectors",
};

/** A server over a file of its own. */
async function overFile(
  request: TargetRequest,
  start: (file: string, dir: TempDir) => NbdServer | Promise<NbdServer>,
): Promise<MadeTarget> {
  await using stack = new AsyncDisposableStack();
  const file = stack.use(await fileTarget(request));
  const dir = stack.use(new TempDir());
  const server = stack.use(await start(file.target, dir));
  const all = stack.move();
  return { target: server.uri(), [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** nbdkit's disk in memory, filled through the driver itself. */
async function inMemory({ byteLength, content }: TargetRequest, filters: readonly string[] = []): Promise<MadeTarget> {
  const parameters = [String(byteLength), ...filters.includes("blocksize-policy") ? POLICY : []];
  const server = await NbdServer.nbdkit("memory", parameters, { filters });
  if (content === "pattern") {
    await using device = await openDevice(server.uri());
    await device.write(pattern(0, byteLength), 0);
  }
  return { target: server.uri(), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** A server that takes whole blocks only, and little at a time. */
const POLICY = [
  "blocksize-minimum=4K",
  "blocksize-preferred=64K",
  "blocksize-maximum=256K",
  "blocksize-error-policy=error",
];

async function qcow2(file: string, dir: TempDir): Promise<NbdServer> {
  const image = join(dir.path, "disk.qcow2");
  const args = ["convert", "-f", "raw", "-O", "qcow2", file, image];
  const { success } = await new Deno.Command("qemu-img", { args }).output();
  if (!success) throw new Error(`Cannot convert ${file} with qemu-img`);
  return await NbdServer.qemu(image, ["-f", "qcow2"]);
}

/** How the driver is opened on nbdkit's memory. */
const WAYS: readonly DeviceOptions[] = [
  {},
  { wait: "poll" },
  { wait: "block" },
  { queueDepth: 1 },
  { nbd: { connections: 4 } },
  { wait: "block", nbd: { connections: 3, structuredReplies: true } },
  { nbd: { structuredReplies: true, reconnectMs: 1000 } },
];

/** What several connections lack. */
function lacksOf({ queueDepth, nbd }: DeviceOptions): Configuration["lacks"] {
  return {
    ...LACKS,
    ...queueDepth === 1 && { "sections of 32": "queueDepth 1 holds fewer at once" },
    ...(nbd?.connections ?? 1) > 1 && { "exact counts": "a section is one submit for each connection" },
  };
}

const QEMU_READY = hasQemuNbd();

/** Our own server: the driver behind it, and how the client speaks to it. */
const OWN_SERVERS: readonly (readonly [prefix: string, served: DeviceOptions, options: DeviceOptions])[] = [
  ["linux_aio:", { direct: true }, { wait: "block", nbd: { structuredReplies: true } }],
  ["", {}, { nbd: { extendedHeaders: true, connections: 2 } }],
];

/** A file that our own server serves. */
async function ownServer(request: TargetRequest, prefix: string, served: DeviceOptions): Promise<MadeTarget> {
  await using stack = new AsyncDisposableStack();
  const file = stack.use(await fileTarget(request));
  const server = stack.use(await ServedDisk.startNbd(prefix + file.target, served));
  const all = stack.move();
  return { target: server.uri, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** The configurations of the nbd driver. */
export const NBD_CONFIGURATIONS: readonly Configuration[] = [
  ...WAYS.map((options): Configuration => ({
    name: `nbd over nbdkit memory ${JSON.stringify(options)}`,
    driver: "nbd",
    ready: hasNbdkit(),
    options,
    lacks: lacksOf(options),
    make: inMemory,
  })),
  {
    name: "nbd over nbdkit memory with blocks of 4 KiB",
    driver: "nbd",
    ready: hasNbdkit(),
    options: {},
    lacks: { ...LACKS, "any size": "the server has whole blocks", "exact counts": "its largest request is small" },
    make: (request) => inMemory(request, ["blocksize-policy"]),
  },
  {
    name: "nbd over nbdkit file",
    driver: "nbd",
    ready: hasNbdkit(),
    options: {},
    lacks: ON_FILES,
    make: (request) => overFile(request, (file) => NbdServer.nbdkit("file", [file])),
  },
  {
    name: "nbd over qemu-nbd raw",
    driver: "nbd",
    ready: QEMU_READY,
    options: {},
    lacks: ON_FILES,
    make: (request) => overFile(request, (file) => NbdServer.qemu(file)),
  },
  {
    name: "nbd over qemu-nbd raw, in chunks, blocking",
    driver: "nbd",
    ready: QEMU_READY,
    options: { wait: "block", nbd: { structuredReplies: true } },
    lacks: ON_FILES,
    make: (request) => overFile(request, (file) => NbdServer.qemu(file)),
  },
  {
    name: "nbd over qemu-nbd qcow2",
    driver: "nbd",
    ready: QEMU_READY,
    options: {},
    lacks: ON_FILES,
    make: (request) => overFile(request, qcow2),
  },
  ...OWN_SERVERS.map(([prefix, served, options]): Configuration => ({
    name: `nbd over plugio's own server (${prefix}${JSON.stringify(served)}) ${JSON.stringify(options)}`,
    driver: "nbd",
    ready: true,
    options,
    lacks: { ...lacksOf(options), ...ON_FILES },
    make: (request) => ownServer(request, prefix, served),
  })),
];
