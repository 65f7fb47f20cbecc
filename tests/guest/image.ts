/**
 * Writes the guest's first and only file system: busybox, the first process, the job, and what the job asks for.
 *
 * Made anew for each start: it takes a fraction of a second, most of it for copying Deno, and is never out of date.
 *
 * @module
 */

import { basename, join } from "node:path";
import { LIBAIO } from "../../ffi/libaio/symbols.ts";
import { LIBURING } from "../../ffi/liburing/symbols.ts";
import type { LibrarySpec } from "../../ffi/loader.ts";
import { CpioWriter } from "./cpio.ts";
import { DEVICE_MODULES } from "./devices.ts";
import type { GuestFile, GuestJob } from "./job.ts";
import type { GuestKernel } from "./kernel.ts";
import { addProject, GUEST_DENO_DIR, GUEST_PROJECT } from "./project.ts";
import { shellWords } from "./shell.ts";
import { findLibrary, findProgram, librariesOf } from "./programs.ts";

/** What every guest loads: the bus of its disks, and the console whose ports carry output and files. */
const BASE_MODULES = ["virtio_pci", "virtio_console"];

/** Opened by Deno programs of the project, so that no program's list of libraries names them. */
const PROJECT_LIBRARIES: readonly LibrarySpec[] = [LIBURING, LIBAIO];

/** Where the libraries of the guest lie; the first process names the folder in LD_LIBRARY_PATH. */
const GUEST_LIBRARY_DIR = "/lib64";

/** Writes the archive that the kernel unpacks. */
export async function writeImage(path: string, job: GuestJob, kernel: GuestKernel): Promise<void> {
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  const archive = new CpioWriter(file);
  const copy = (to: string, from: string, permissions?: number) =>
    archive.file(to, Deno.readFileSync(from), permissions);
  const hasProject = job.project ?? true;

  archive.file("/init", Deno.readFileSync(new URL("init.sh", import.meta.url)), 0o755);
  const programs = new Map(["busybox", ...job.programs ?? []].map((name) => [name, findProgram(name)]));
  if (hasProject) programs.set("deno", Deno.execPath());
  // Not in /bin, where busybox puts the names of its applets.
  for (const [name, from] of programs) copy(join(name === "busybox" ? "/bin" : "/usr/local/bin", name), from, 0o755);

  const libraries = new Map<string, string>();
  const wanted = [...(hasProject ? PROJECT_LIBRARIES : []).map(({ sonames }) => sonames), ...job.libraries ?? []];
  for (const sonames of wanted) {
    const from = findLibrary(...[sonames].flat());
    libraries.set(basename(from), from);
  }
  const all = new Map([...librariesOf([...programs.values(), ...libraries.values()]), ...libraries]);
  for (const [soname, from] of all) copy(join(GUEST_LIBRARY_DIR, soname), from, 0o755);

  addModules(archive, job, kernel);
  if (hasProject) await addProject(archive);
  for (const [to, content] of Object.entries(job.files ?? {})) archive.file(to, bytesOf(content));
  archive.file("/job/command", bytesOf(commandScript(job)));
  archive.file("/job/collect", bytesOf((job.collect ?? ["/nothing"]).join("\n") + "\n"));
  archive.end();
}

/** Puts the modules into the guest, and the list by which the first process loads them. */
function addModules(archive: CpioWriter, job: GuestJob, kernel: GuestKernel): void {
  const drivers = (job.devices ?? []).flatMap(({ kind }) => DEVICE_MODULES[kind]);
  const wanted = [...BASE_MODULES, ...drivers, ...job.modules ?? []];
  const words = wanted.map((entry) => entry.split(" "));
  const parameters = new Map(words.map(([name = "", ...rest]) => [name.replaceAll("-", "_"), rest.join(" ")]));
  const lines = kernel.modules(words.map(([name = ""]) => name)).map((from) => {
    const to = join("/modules", basename(from));
    archive.file(to, Deno.readFileSync(from));
    return `${to} ${parameters.get(basename(from, ".ko").replaceAll("-", "_")) ?? ""}`.trimEnd();
  });
  archive.file("/job/modules", bytesOf(lines.join("\n") + "\n"));
}

/** The command as a script of the guest's shell. */
function commandScript(job: GuestJob): string {
  const hasProject = job.project ?? true;
  // Inside, a test that cannot run is a failure wherever it is one outside.
  const inherited = Object.fromEntries(
    ["CI"].flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []),
  );
  const deno = hasProject ? { DENO_DIR: GUEST_DENO_DIR, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" } : {};
  const variables = Object.entries({ ...inherited, ...deno, ...job.env });
  return [
    ...variables.map(([name, value]) => `export ${name}=${shellWords([value])}`),
    `cd ${shellWords([job.cwd ?? (hasProject ? GUEST_PROJECT : "/")])} || exit 127`,
    `exec ${shellWords(job.command)}`,
    "",
  ].join("\n");
}

function bytesOf(content: GuestFile): Uint8Array {
  if (content instanceof Uint8Array) return content;
  return typeof content === "string" ? new TextEncoder().encode(content) : Deno.readFileSync(content.host);
}
