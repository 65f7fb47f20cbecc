/**
 * What a guest is asked to do, and what it hands back.
 *
 * @module
 */

import type { GuestDevice } from "./devices.ts";
import type { Emulator } from "./emulator.ts";
import { DEV_LOCK } from "../../tools/dev_lock.ts";

/** A file to be put into the guest: its content, or where it lies on the host. */
export type GuestFile = Uint8Array | string | { readonly host: string };

/** One start of the guest: its machine, its files, its command. */
export interface GuestJob {
  /** Program and arguments. `deno` and busybox's applets are there; others as `programs`. */
  readonly command: readonly string[];
  /** Folder in which the command runs: the project's if the guest has it, else `/`. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Disks, in order; their drivers are loaded. */
  readonly devices?: readonly GuestDevice[];
  /** More modules to load after those, each with parameters behind its name: `null_blk nr_devices=1`. */
  readonly modules?: readonly string[];
  /** An IOMMU, as VFIO needs it. Default false. */
  readonly iommu?: boolean;
  /** The QEMU that it runs on: the machine's own, if not given. */
  readonly emulator?: Emulator;
  /** More words for the kernel's command line. */
  readonly kernelArguments?: readonly string[];
  /** More arguments for QEMU. */
  readonly qemuArguments?: readonly string[];
  /** Deno, and this project with its npm packages, so that its tests run without a network. Default true. */
  readonly project?: boolean;
  /** Programs of the host to copy with their libraries: `fio`, `mkfs.ext4`. */
  readonly programs?: readonly string[];
  /** Shared libraries by soname, beyond those that programs need. With the project, liburing is there. */
  readonly libraries?: readonly string[];
  /** More files, by their path in the guest. */
  readonly files?: Readonly<Record<string, GuestFile>>;
  /** Files and folders of the guest to hand back, where they exist. */
  readonly collect?: readonly string[];
  /** Default 1024. */
  readonly memoryMiB?: number;
  /** Default 2. */
  readonly cpus?: number;
  /**
   * Let the guest's clocks count instructions, one a nanosecond, so that processor time is a number of instructions.
   * Slower, and true with one processor only. Default false.
   */
  readonly countInstructions?: boolean;
  /** After this the guest is taken for hung and killed. Default 120,000. */
  readonly timeoutMs?: number;
}

/** What a guest that ran its command handed back. */
export interface GuestResult {
  /** The command's exit code; a signal is 128 and its number. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** What the kernel and the first process wrote. */
  readonly console: string;
  /** The collected files by their path in the guest. */
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** From the start of QEMU to its end. */
  readonly elapsedMs: number;
}

/** The guest did not get to the end of its command: it hung, panicked, or did not start. */
export class GuestError extends Error {
  override readonly name = "GuestError";
  /**
   * `timeout` if it had to be killed, `died` if the machine ended by itself before the command did, `crashed` if QEMU
   * was ended by a signal that is not ours.
   */
  readonly kind: "timeout" | "died" | "crashed" | "killed";
  /** All that the console said. */
  readonly console: string;

  constructor(kind: GuestError["kind"], reason: string, evidence: { console: string; stdout: string; stderr: string }) {
    const tail = (title: string, text: string) => {
      const lines = text.replaceAll("\r", "").trimEnd().split("\n").slice(-TAIL_LINES);
      return lines.join("").trim() === "" ? "" : `\n--- ${title}, the last lines\n${lines.join("\n")}`;
    };
    const { console, stdout, stderr } = evidence;
    super(reason + tail("console", console) + tail("standard output", stdout) + tail("standard error", stderr));
    this.kind = kind;
    this.console = console;
  }
}

/** Lines of each text that an error carries. */
const TAIL_LINES = 40;

/** The command that runs tests of the project in the guest: without type checks, which the host does, and offline. */
export function testCommand(...files: string[]): string[] {
  const flags = ["-P", DEV_LOCK, "--no-check", "--cached-only", "--preload", "tests/preload.ts"];
  return ["deno", "test", ...flags, ...files];
}

/** The command that runs a script of the project in the guest. */
export function scriptCommand(file: string, ...args: string[]): string[] {
  return ["deno", "run", "-q", "-P", "--no-check", "--cached-only", file, ...args];
}
