/**
 * Files on tmpfs: a file system in memory, without zero ranges, whose files may be nearly 2^63 bytes long. Deno's own
 * calls refuse to touch the folder, so tools do.
 *
 * @module
 */
import { tool } from "./tool.ts";

const FOLDER = "/dev/shm";

/** True, or the reason why there is no tmpfs here. */
export const HAS_TMPFS: true | string = tool("stat", "--file-system", "--format=%T", FOLDER) === "tmpfs" ||
  `${FOLDER} is not a tmpfs`;

/** A file on tmpfs, empty or of zeroes, removed on dispose. */
export class TmpfsFile implements Disposable {
  readonly path = `${FOLDER}/plugio-test-${crypto.randomUUID()}`;

  constructor(byteLength?: number) {
    if (byteLength !== undefined && tool("truncate", `--size=${byteLength}`, this.path) === null) {
      throw new Error(`Cannot make ${this.path} of ${byteLength} bytes`);
    }
  }

  [Symbol.dispose](): void {
    tool("rm", "--force", this.path);
  }
}
