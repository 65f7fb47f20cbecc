/**
 * The QEMUs that guests are started with: the machine's own, and that of the next Debian, which set-up has unpacked with
 * everything that it needs.
 *
 * @module
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { NEXT_QEMU } from "../../tools/setup/needs.ts";
import { exists, TRIPLET } from "../../tools/setup/present.ts";
import { hostProgram } from "./programs.ts";

/** `own` is what the machine has, or what set-up unpacked of the same release; `next` is the next release's. */
export type Emulator = "own" | "next";

/** Both of them. */
export const EMULATORS: readonly Emulator[] = ["own", "next"];

/** How a program is started. */
export interface ProgramStart {
  /** The program and its first arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

const TREE = fileURLToPath(new URL(`../../.native/unpacked/${NEXT_QEMU}`, import.meta.url));
const LIBRARIES = join(TREE, "usr/lib", TRIPLET);

/** Folders with the firmware of a machine: BIOS, option ROMs. */
const FIRMWARE_DIRS = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/** A program of the next release. It runs with its own C library, which the machine's loader could not use. */
export function nextProgram(name: string): ProgramStart {
  const program = join(TREE, "usr/bin", name);
  if (!exists(program)) throw new Error(`Cannot start ${name}: expected ${program} (deno task setup test)`);
  // Plug-ins are looked for next to the program, as which the loader counts here.
  const env = { QEMU_MODULE_DIR: join(LIBRARIES, "qemu") };
  const path = [LIBRARIES, join(LIBRARIES, "pulseaudio")].join(":");
  return { command: [join(TREE, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", path, program], env };
}

/** The machine emulator. */
export function emulatorStart(emulator: Emulator): ProgramStart {
  const name = "qemu-system-x86_64";
  if (emulator === "own") return { command: [hostProgram(name)], env: {} };
  const { command, env } = nextProgram(name);
  return { command: [...command, ...FIRMWARE_DIRS.flatMap((dir) => ["-L", join(TREE, dir)])], env };
}

/** UEFI's firmware of the next release: its code, and the variables that a machine starts with. */
export function uefiFirmware(): { readonly code: string; readonly variables: string } {
  const at = (name: string) => join(TREE, "usr/share/OVMF", name);
  return { code: at("OVMF_CODE_4M.fd"), variables: at("OVMF_VARS_4M.fd") };
}
