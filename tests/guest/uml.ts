/**
 * User Mode Linux: a guest that is a process of this machine, boots in a second, and sees folders of the host as its own.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { exists } from "../../tools/setup/present.ts";
import { moduleName } from "./kernel.ts";
import { findProgram, librariesOf } from "./programs.ts";
import { buildRegisterLibrary, hasWideRegisters } from "./uml_registers.ts";

const UML_DIR = fileURLToPath(new URL("../../.native/unpacked/user-mode-linux", import.meta.url));
const KERNEL = join(UML_DIR, "usr/bin/linux.uml");
const MODULES_DIR = join(UML_DIR, "usr/lib/uml/modules");
const DISK_MODULE = "kernel/drivers/block/virtio_blk.ko";

/** After this a guest is taken for hung. */
const HUNG_MS = 60_000;

/** Whether this machine has such a guest. */
export function umlReady(): true | string {
  if (Deno.build.arch !== "x86_64") return `User Mode Linux is for x86-64, and this is ${Deno.build.arch}`;
  try {
    findProgram("busybox");
    return exists(KERNEL) || "user-mode-linux is not unpacked (deno task setup test)";
  } catch (error) {
    return (error as Error).message;
  }
}

/** What a guest is started with. */
export interface UmlJob {
  /** Folder on the host that becomes the guest's root; it must be empty. */
  readonly root: string;
  /** Socket of the server whose disk is the guest's /dev/vda. */
  readonly socket: string;
  /** Programs of the host that the script runs, beside busybox. */
  readonly programs: readonly string[];
  /** The script, for busybox' shell; files of its own go to the root folder. */
  readonly script: string;
}

/** Runs a guest to its end; returns what its script printed, and the console where something went wrong. */
export async function runUml(job: UmlJob): Promise<{ readonly output: string; readonly console: string }> {
  writeRoot(job);
  const { root, socket } = job;
  const args = [
    "mem=512M",
    "root=/dev/root",
    "rootfstype=hostfs",
    `rootflags=${root}`,
    "rw",
    "init=/init",
    `virtio_uml.device=${socket}:2`,
    `uml_dir=${root}/tmp`,
    "con0=fd:0,fd:1",
    "con=null",
  ];
  const env = { HOME: `${root}/tmp`, TMPDIR: `${root}/tmp` };
  // Deno hands LD_PRELOAD to no program; env(1) does.
  const preload = await hasWideRegisters() ? [`LD_PRELOAD=${await buildRegisterLibrary(dirname(socket))}`] : [];
  const child = new Deno.Command("env", {
    args: [...preload, KERNEL, ...args],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const watchdog = setTimeout(() => child.kill("SIGKILL"), HUNG_MS);
  const { stdout, stderr } = await child.output();
  clearTimeout(watchdog);
  const decoder = new TextDecoder();
  return {
    output: Deno.readTextFileSync(join(root, "output")),
    console: decoder.decode(stdout) + decoder.decode(stderr),
  };
}

function writeRoot({ root, programs, script }: UmlJob): void {
  for (const folder of ["bin", "lib64", "proc", "sys", "dev", "tmp"]) Deno.mkdirSync(join(root, folder));
  const files = ["busybox", ...programs].map(findProgram);
  for (const file of files) Deno.copyFileSync(file, join(root, "bin", basename(file)));
  for (const [soname, file] of librariesOf(files)) Deno.copyFileSync(file, join(root, "lib64", soname));
  const [release] = [...Deno.readDirSync(MODULES_DIR)].map(({ name }) => name);
  const module = join(MODULES_DIR, release!, DISK_MODULE);
  Deno.copyFileSync(module, join(root, `${moduleName(module)}.ko`));
  const lines = [
    "#!/bin/busybox sh",
    "exec >/output 2>&1",
    "export PATH=/bin:/tools LD_LIBRARY_PATH=/lib64",
    "/bin/busybox mkdir /tools",
    "/bin/busybox --install -s /tools",
    "mount -t proc proc /proc",
    "mount -t sysfs sysfs /sys",
    `insmod /${moduleName(module)}.ko`,
    script,
    "sync",
    "poweroff -f",
    "",
  ];
  Deno.writeTextFileSync(join(root, "init"), lines.join("\n"), { mode: 0o755 });
  Deno.writeTextFileSync(join(root, "output"), "");
}
