/**
 * The guest's kernel as set-up unpacked it: the image, and its modules in the order in which they have to be loaded.
 *
 * @module
 */

import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const KERNEL_DIR = fileURLToPath(new URL("../../.native/unpacked/guest-kernel", import.meta.url));
const IMAGE = /^vmlinuz-/;
/** Longer than any chain of modules in Linux: only a circle gets there. */
const DEPENDENCY_DEPTH_MAX = 32;

/** One unpacked kernel package. */
export class GuestKernel {
  /** Path of the bootable image on the host. */
  readonly image: string;
  /** What `uname -r` says in the guest. */
  readonly release: string;
  readonly #modulesDir: string;
  /** Paths below the modules' folder, by name. */
  readonly #paths: ReadonlyMap<string, string>;
  readonly #builtIn: ReadonlySet<string>;

  /** Reads the package's tables; throws where set-up did not unpack a kernel. */
  constructor(dir: string = KERNEL_DIR) {
    const images = [...Deno.readDirSync(join(dir, "boot"))].map(({ name }) => name).filter((name) => IMAGE.test(name));
    const [image] = images;
    if (image === undefined || images.length > 1) {
      const found = images.join(" ") || "none";
      throw new Error(`Cannot choose a kernel in ${dir}: expected one image, found ${found} (deno task setup test)`);
    }
    this.image = join(dir, "boot", image);
    this.release = image.replace(IMAGE, "");
    this.#modulesDir = join(dir, "lib/modules", this.release);
    const table = (name: string) => Deno.readTextFileSync(join(this.#modulesDir, name)).trimEnd().split("\n");
    this.#builtIn = new Set(table("modules.builtin").map(moduleName));
    this.#paths = new Map(table("modules.order").map((path) => [moduleName(path), path]));
  }

  /**
   * Files on the host of the modules and of all that they need, each after those it needs.
   *
   * Modules that are built into this kernel need no file and are left out; a name that it does not know is an error.
   */
  modules(wanted: readonly string[]): string[] {
    const order = new Set<string>();
    const visit = (name: string, depth: number) => {
      if (this.#builtIn.has(name)) return;
      const path = this.#paths.get(name);
      if (path === undefined) throw new Error(`Cannot load ${name}: expected a module of Linux ${this.release}`);
      if (depth > DEPENDENCY_DEPTH_MAX) throw new Error(`Cannot load ${name}: expected no circle of modules`);
      const file = join(this.#modulesDir, path);
      if (order.has(file)) return;
      for (const need of dependencies(file)) visit(need, depth + 1);
      order.add(file);
    };
    for (const name of wanted) visit(moduleName(name), 0);
    return [...order];
  }
}

/** What a module says that it needs. Its own section is read, since only depmod, at installation, writes modules.dep. */
function dependencies(file: string): string[] {
  const text = new TextDecoder("latin1").decode(Deno.readFileSync(file));
  const [, list] = /\0depends=([^\0]*)\0/.exec(text) ?? [];
  if (list === undefined) throw new Error(`Cannot read ${file}: expected an uncompressed kernel module`);
  return list.split(",").filter((name) => name !== "").map(moduleName);
}

/** A module has one name for dashes and underscores, with or without folder and ending. */
export function moduleName(path: string): string {
  return basename(path).replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}
