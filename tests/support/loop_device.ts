/**
 * Block devices over files, where the machine lets us make them.
 *
 * @module
 */
import { mayAccess } from "../../ffi/libc/mod.ts";
import { TempDir } from "./temp_file.ts";
import { tool } from "./tool.ts";

/** Bytes of a loop device unless asked otherwise. */
export const LOOP_BYTES = 8 * 1024 * 1024;

/** How a loop device is made. */
export interface LoopOptions {
  readonly byteLength?: number;
  /** What it holds; default the pattern. */
  readonly content?: "pattern" | "zeroes";
  /** The file that it lies over, instead of one of its own. */
  readonly over?: string;
  /** Further arguments of losetup(8). */
  readonly args?: readonly string[];
}

/** A loop device over a file; gone on dispose, with the file if that is its own. */
export class LoopDevice implements Disposable {
  readonly path: string;
  readonly backing: string;
  readonly #dir = new TempDir();

  constructor({ byteLength = LOOP_BYTES, content = "pattern", over, args = [] }: LoopOptions = {}) {
    this.backing = over ?? this.#dir[content === "pattern" ? "file" : "sparse"]("backing.img", byteLength);
    const path = tool("losetup", "--find", "--show", ...args, this.backing);
    if (path === null) {
      this.#dir[Symbol.dispose]();
      throw new Error("losetup failed");
    }
    this.path = path;
    // The kernel hands devices out again with the flag that their last user set.
    if (!args.includes("--read-only") && !args.includes("-r")) tool("blockdev", "--setrw", path);
  }

  [Symbol.dispose](): void {
    tool("losetup", "--detach", this.path);
    this.#dir[Symbol.dispose]();
  }
}

let answer: true | string | null = null;

/** True, or the reason why there are no loop devices here. */
export function loopDevices(): true | string {
  return answer ??= tryLoop();
}

function tryLoop(): true | string {
  if (Deno.uid() !== 0) return "making a loop device takes root";
  try {
    using loop = new LoopDevice();
    return mayAccess(loop.path, "read") || `${loop.path} cannot be read`;
  } catch {
    return "losetup cannot make a loop device here";
  }
}
