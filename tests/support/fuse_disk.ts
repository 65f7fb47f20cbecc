/**
 * Disks made of QEMU's block nodes that are files here, by FUSE: one that is slow, one with a sector that fails.
 *
 * @module
 */
import { join } from "node:path";
import { Errno } from "../../core/base/errno.ts";
import { type BlockNode, hasStorageDaemon } from "./storage_daemon.ts";
import { TempDir } from "./temp_file.ts";
import { tool } from "./tool.ts";

/** Milliseconds that a daemon gets to mount its disk, or to take it down. Generous: only a bug waits for it. */
const PATIENCE_MS = 10_000;

/** A disk of zeroes that forgets what is written to it, and takes `latencyMs` for each I/O. */
export function slowNode(byteLength: number, latencyMs: number): BlockNode {
  return { driver: "null-co", size: byteLength, "read-zeroes": true, "latency-ns": latencyMs * 1e6 };
}

/** The file at `path`, of which I/O that touches `sector` ends with EIO, or each flush where that is asked for. */
export function failingNode(path: string, sector: number | "flush"): BlockNode {
  const which = sector === "flush" ? { iotype: "flush" } : { sector };
  const error = { event: "none", errno: Errno.EIO, once: false, ...which };
  return { driver: "blkdebug", image: { driver: "file", filename: path }, "inject-error": [error] };
}

/** A node as a file of its size; daemon and mount are gone on dispose. */
export class FuseDisk implements AsyncDisposable {
  /** Where the disk is. Direct I/O reaches the node. */
  readonly path: string;
  readonly #dir: TempDir;
  readonly #child: Deno.ChildProcess;

  private constructor(dir: TempDir, node: BlockNode) {
    this.#dir = dir;
    this.path = join(dir.path, "disk");
    Deno.writeFileSync(this.path, new Uint8Array());
    const disk = { type: "fuse", id: "disk", "node-name": "disk", mountpoint: this.path, writable: true };
    this.#child = new Deno.Command("qemu-storage-daemon", {
      args: ["--blockdev", JSON.stringify({ ...node, "node-name": "disk" }), "--export", JSON.stringify(disk)],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  /** Starts a daemon and waits until the disk is there. */
  static async start(node: BlockNode): Promise<FuseDisk> {
    const disk = new FuseDisk(new TempDir(), node);
    try {
      await disk.#isThere();
      return disk;
    } catch (error) {
      await disk[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #isThere(): Promise<void> {
    const deadlineMs = performance.now() + PATIENCE_MS;
    let ended = false;
    this.#child.status.then(() => ended = true);
    while (performance.now() < deadlineMs && !ended) {
      // The file below the mount is empty.
      if (Deno.statSync(this.path).size > 0) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`Cannot mount a disk at ${this.path}: ${ended ? "the daemon ended" : "nothing came"}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const killed = setTimeout(() => this.#signal("SIGKILL"), PATIENCE_MS);
    this.#signal("SIGTERM");
    const { signal } = await this.#child.status;
    clearTimeout(killed);
    // A daemon that ends unmounts; one that was killed leaves a mount that answers ENOTCONN.
    if (signal !== null) tool("fusermount3", "-u", "-z", this.path) ?? tool("umount", "--lazy", this.path);
    this.#dir[Symbol.dispose]();
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended already.
    }
  }
}

let answer: Promise<true | string> | null = null;

/** True, or the reason why there are no such disks here. */
export function fuseDisks(): Promise<true | string> {
  return answer ??= tryFuse();
}

async function tryFuse(): Promise<true | string> {
  const daemon = hasStorageDaemon();
  if (daemon !== true) return daemon;
  try {
    await using _disk = await FuseDisk.start(slowNode(4096, 0));
    return true;
  } catch {
    return "qemu-storage-daemon cannot mount a disk by FUSE here";
  }
}
