/**
 * Targets of drivers that serve local files and block devices.
 *
 * @module
 */
import { LoopDevice } from "../../support/loop_device.ts";
import { TempDir } from "../../support/temp_file.ts";
import { TmpfsFile } from "../../support/tmpfs.ts";
import type { MadeTarget, TargetRequest } from "../configuration.ts";

/** Beyond this a file cannot be on ext4 (16 TiB), and is made on tmpfs. */
const EXT4_MAX_BYTES = 2 ** 44 - 4096;

/** A regular file; `prefix` goes before its path. */
export function fileTarget({ byteLength, content }: TargetRequest, prefix = ""): Promise<MadeTarget> {
  if (byteLength > EXT4_MAX_BYTES) return made(new TmpfsFile(byteLength), prefix);
  const dir = new TempDir();
  const path = content === "pattern" ? dir.file("data.bin", byteLength) : dir.sparse("data.bin", byteLength);
  return made({ path, [Symbol.dispose]: () => dir[Symbol.dispose]() }, prefix);
}

/** A loop device of the pattern; `prefix` goes before its path. */
export function loopTarget({ byteLength, content }: TargetRequest, prefix = ""): Promise<MadeTarget> {
  return made(new LoopDevice({ byteLength, content }), prefix);
}

function made(file: Disposable & { readonly path: string }, prefix: string): Promise<MadeTarget> {
  return Promise.resolve({
    target: prefix + file.path,
    [Symbol.asyncDispose]: () => Promise.resolve(file[Symbol.dispose]()),
  });
}
