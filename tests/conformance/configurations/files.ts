/**
 * Targets of drivers that serve local files and block devices.
 *
 * @module
 */
import type { DeviceOptions } from "../../../mod.ts";
import { LoopDevice } from "../../support/loop_device.ts";
import { TempDir } from "../../support/temp_file.ts";
import { HAS_TMPFS, TmpfsFile } from "../../support/tmpfs.ts";
import type { Configuration, MadeTarget, TargetRequest } from "../configuration.ts";

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

/** What a block device lacks. */
export const BLOCK_DEVICE: Configuration["lacks"] = {
  growing: "a block device has a fixed size",
  "any size": "a block device has whole sectors",
  paths: "the files have them already",
  "far targets": "the file behind a loop device ends at 16 TiB",
};

/** What regular files lack by their nature, opened with these options. */
export function lacksOnFiles({ queueDepth = 1024, direct = false }: DeviceOptions): Configuration["lacks"] {
  return {
    ...queueDepth < 32 && { "sections of 32": `queueDepth ${queueDepth} holds fewer at once` },
    ...direct && { "any size": "direct I/O moves whole blocks" },
    ...direct && { "far targets": "tmpfs, which has such files, may refuse direct I/O" },
  };
}

/** What they lack only where the machine does. */
export const MISSING_ON_FILES: NonNullable<Configuration["missing"]> = {
  ...HAS_TMPFS !== true && { "far targets": HAS_TMPFS },
};

function made(file: Disposable & { readonly path: string }, prefix: string): Promise<MadeTarget> {
  return Promise.resolve({
    target: prefix + file.path,
    [Symbol.asyncDispose]: () => Promise.resolve(file[Symbol.dispose]()),
  });
}
