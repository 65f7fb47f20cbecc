import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { NO_LOADER_VARIABLES } from "../../core/base/loader_variables.ts";
import { formatNanoseconds, formatSize } from "../../core/base/units.ts";
import { errnoName } from "../../mod.ts";
import { ExitCode } from "../exit_codes.ts";
import { failed } from "../failure.ts";
import { InterruptWatch } from "../signals.ts";
import { writeNotice, writeOutput } from "../terminal.ts";
import { type FixtureFolder, fixturesRoot, listFolders, newFolder } from "./folders.ts";
import type { FixtureKind, FixtureOptions, TargetOptions } from "./options.ts";

/** The script, which has to be a file of this machine: from a registry the module is served over https. */
const SCRIPT_URL = new URL("./fixture.sh", import.meta.url);

/** Milliseconds between looks at whether a stopped fixture has gone, and how many: the script's own patience and more. */
const STOP_LOOK_MS = 100;
const STOP_LOOKS = 200;

/** What set-up unpacked for users without root. */
const NATIVE_PROGRAMS_URL = new URL("../../.native/bin", import.meta.url);

/** Makes a fixture and stays until it is to end, or looks after those that are there. Returns the exit code. */
export async function runTarget(options: TargetOptions): Promise<ExitCode> {
  if (Deno.permissions.querySync({ name: "run", command: "setsid" }).state !== "granted") {
    throw failed(
      "Cannot use target with these permissions: it starts programs, wanted deno run -P=target cli.ts target",
    );
  }
  if (SCRIPT_URL.protocol !== "file:") {
    throw failed(`Cannot use target from ${SCRIPT_URL.origin}: it runs a script that is a file, wanted a git clone`);
  }
  const root = fixturesRoot();
  switch (options.action) {
    case "make":
      return await makeFixture(root, options.fixture);
    case "list":
      for (const { name, path, isAlive } of listFolders(root)) {
        writeOutput(`${name}  ${diskOf(path)}${isAlive ? "" : "  left behind: remove it with target clean"}\n`);
      }
      return ExitCode.ok;
    case "stop":
      return await stopFixture(root, options.name);
    case "clean":
      for (const { name, path } of listFolders(root).filter(({ isAlive }) => !isAlive)) {
        await cleanFolder(path);
        writeOutput(`${name} removed\n`);
      }
      return ExitCode.ok;
  }
}

/** Where the disk of a fixture is, for lists. */
function diskOf(folder: string): string {
  try {
    return `/dev/zram${Deno.readTextFileSync(join(folder, "zram")).trim()}`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return join(folder, "disk");
  }
}

async function makeFixture(root: string, fixture: FixtureOptions): Promise<ExitCode> {
  const ended = Promise.withResolvers<void>();
  using watch = new InterruptWatch(() => "stay");
  watch.onInterrupt = () => ended.resolve();
  const folder = newFolder(root, fixture.kind);
  // In a session of its own, so that a kill of this process group leaves a process to clean up.
  const child = new Deno.Command("setsid", {
    args: ["sh", fileURLToPath(SCRIPT_URL), ...scriptArguments(fixture, folder)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    env: {
      PATH: `${fileURLToPath(NATIVE_PROGRAMS_URL)}:${Deno.env.get("PATH") ?? "/usr/bin:/bin"}`,
      ...NO_LOADER_VARIABLES,
    },
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const answer = await firstLine(lines);
  if (answer.startsWith("ready ")) {
    writeOutput(answer.slice("ready ".length) + "\n");
    writeNotice(purpose(fixture));
    await Promise.race([ended.promise, child.status]);
  }
  // However it ended: the script cleans up when its input ends, and what it could not do is done here.
  await child.stdin.close().catch(() => {});
  await lines.cancel();
  await child.status;
  if (exists(folder)) await cleanFolder(folder);
  if (!answer.startsWith("ready ")) throw startFailure(fixture.kind, answer);
  if (watch.interrupted) return ExitCode.interrupted;
  return ExitCode.ok;
}

async function firstLine(lines: ReadableStreamDefaultReader<string>): Promise<string> {
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await lines.read();
    if (done) break;
    text += value;
  }
  return text.split("\n")[0]!;
}

function startFailure(kind: FixtureKind, answer: string): Error {
  const reason = answer.replace(/^failed ?/, "") || "it ended without a word";
  const wanted = kind === "ram"
    ? "wanted root and a kernel with zram"
    : "wanted the packages qemu-system-common and, without root, fuse3 (Debian), and a usable /dev/fuse";
  return failed(`Cannot make a ${kind} target: ${reason}; ${wanted}`);
}

/** The script's command line. */
function scriptArguments(fixture: FixtureOptions, folder: string): string[] {
  if (fixture.kind === "ram") return ["ram", folder, String(fixture.sizeBytes)];
  const nodes = daemonNodes(fixture).flatMap((node) => ["--blockdev", JSON.stringify(node)]);
  const disk = { type: "fuse", id: "disk", "node-name": "disk", mountpoint: join(folder, "disk"), writable: true };
  return ["daemon", folder, ...throttleGroup(fixture), ...nodes, "--export", JSON.stringify(disk)];
}

function throttleGroup({ kind, iops }: FixtureOptions): string[] {
  if (kind !== "throttle") return [];
  return ["--object", JSON.stringify({ "qom-type": "throttle-group", id: "limit", "x-iops-total": iops })];
}

type Node = Readonly<Record<string, unknown>>;

/** Block nodes of qemu-storage-daemon; the last is the one that is exported. */
function daemonNodes({ kind, sizeBytes, latencyNs, sector, errno, iops: _iops }: FixtureOptions): Node[] {
  const nothing = { driver: "null-co", size: sizeBytes, "read-zeroes": true };
  switch (kind) {
    case "latency":
      return [{ ...nothing, "node-name": "disk", "latency-ns": latencyNs }];
    case "throttle":
      return [{ ...nothing, "node-name": "base" }, {
        driver: "throttle",
        "node-name": "disk",
        "throttle-group": "limit",
        file: "base",
      }];
    default:
      return [{ ...nothing, "node-name": "base" }, {
        driver: "blkdebug",
        "node-name": "disk",
        image: "base",
        "inject-error": [{ event: "none", sector, errno, once: false }],
      }];
  }
}

/** What a fixture is for. */
function purpose({ kind, latencyNs, sector, errno, iops, sizeBytes }: FixtureOptions): string {
  const end = "Ctrl-C removes it";
  switch (kind) {
    case "latency":
      return `Each I/O takes ${formatNanoseconds(latencyNs)}: shows what depth is worth; use --direct; ${end}`;
    case "fault":
      return `Sector ${sector} (offset ${sector * SECTOR_BYTES}) fails with ${
        errnoName(errno)
      }: shows what errors do; use --direct; ${end}`;
    case "throttle":
      return `At most ${iops} I/Os a second: shows a ceiling that depth cannot lift; use --direct; ${end}`;
    case "ram":
      return `${
        formatSize(sizeBytes)
      } of compressed memory, filled: shows the cost of the software; depth shows nothing here; ${end}`;
  }
}

async function stopFixture(root: string, name: string): Promise<ExitCode> {
  const found = listFolders(root).find((folder) => folder.name === name);
  if (found === undefined) throw failed(`Cannot stop target ${name}: it does not exist, wanted one of target list`);
  if (found.isAlive) await endScript(found);
  // What is still there by now has lost its script, or its device is in use.
  if (exists(found.path)) await cleanFolder(found.path);
  writeOutput(`${name} removed\n`);
  return ExitCode.ok;
}

/** The lock says that the script lives, so the number in the folder is its. */
async function endScript({ path }: FixtureFolder): Promise<void> {
  let pid: string;
  try {
    pid = Deno.readTextFileSync(join(path, "supervisor.pid")).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw failed(`Cannot stop ${path}: it is just being made, wanted it ready`);
    }
    throw error;
  }
  await run("kill", ["-TERM", pid]);
  for (let look = 0; look < STOP_LOOKS && exists(path); look++) {
    await new Promise((resolve) => setTimeout(resolve, STOP_LOOK_MS));
  }
}

async function cleanFolder(path: string): Promise<void> {
  const { success, text } = await run("sh", [fileURLToPath(SCRIPT_URL), "clean", path]);
  if (success && !exists(path)) return;
  throw failed(
    `Cannot remove ${path}: ${text.replace(/^failed /, "") || "it stays"}, wanted no process to use the device`,
  );
}

async function run(command: string, args: readonly string[]): Promise<{ success: boolean; text: string }> {
  const { success, stdout } = await new Deno.Command(command, {
    args: [...args],
    stdin: "null",
    env: { ...NO_LOADER_VARIABLES },
  }).output();
  return { success, text: new TextDecoder().decode(stdout).trim() };
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
