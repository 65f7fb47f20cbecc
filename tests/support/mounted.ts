/**
 * File systems of other kinds than the machine's own, mounted for one test.
 *
 * @module
 */
import { loopDevices } from "./loop_device.ts";
import { TempDir } from "./temp_file.ts";
import { tool } from "./tool.ts";

/** A kind of file system that can be made here. */
export type MountedKind = "btrfs" | "xfs" | "ramfs";

/** Bytes of the image that it lies on: what mkfs(8) wants at least. Sparse. */
const IMAGE_BYTES: Readonly<Record<MountedKind, number>> = { btrfs: 192 << 20, xfs: 320 << 20, ramfs: 0 };

/** True, or the reason why it cannot be made and mounted here. */
export function canMount(kind: MountedKind): true | string {
  const loops = loopDevices();
  if (loops !== true) return loops;
  if (kind === "ramfs") return true;
  tool("modprobe", kind);
  const known = tool("cat", "/proc/filesystems")?.split(/\s+/).includes(kind) === true;
  if (!known) return `the kernel has no ${kind}`;
  return tool(`mkfs.${kind}`, kind === "xfs" ? "-V" : "--version") !== null || `there is no mkfs.${kind}`;
}

/** A mounted file system, gone on dispose. */
export class MountedFileSystem implements Disposable {
  /** Where it is mounted. */
  readonly path: string;
  readonly #stack: DisposableStack;

  constructor(kind: MountedKind, ...mkfsOptions: string[]) {
    using stack = new DisposableStack();
    const dir = stack.use(new TempDir());
    this.path = `${dir.path}/mnt`;
    Deno.mkdirSync(this.path);
    const image = kind === "ramfs" ? "none" : dir.sparse("image", IMAGE_BYTES[kind]);
    if (kind !== "ramfs") run(`mkfs.${kind}`, "-q", ...mkfsOptions, image);
    run("mount", "-t", kind, ...(kind === "ramfs" ? [] : ["-o", "loop"]), image, this.path);
    stack.defer(() => run("umount", this.path));
    this.#stack = stack.move();
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

function run(name: string, ...args: string[]): void {
  if (tool(name, ...args) === null) throw new Error(`${name} ${args.join(" ")} failed`);
}
