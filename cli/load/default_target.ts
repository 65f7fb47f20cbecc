import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { randomFillSync } from "node:crypto";
import { statfsSync } from "node:fs";
import { join } from "node:path";
import { formatSize } from "../../core/base/units.ts";
import { CliError, failed } from "../failure.ts";

/** Size of the file that is read when no target is named: large enough to be no cache inside a disk. */
export const DEFAULT_TARGET_BYTES = 1024 ** 3;

/** Bytes filled and written at once. */
const CHUNK_BYTES = 1024 ** 2;

/** Room that stays free on the disk: a full disk breaks more than this run. */
const RESERVE_BYTES = 64 * 1024 ** 2;

/** Attempts to get hold of the lock: each lost one means that another process has just finished or given up. */
const LOCK_ATTEMPTS = 100;

/** Milliseconds between looks at a lock that another process holds; blocking for it could not be interrupted. */
const LOCK_POLL_MS = 200;

/** Where and how large the default file is, and who wants to know how it comes along. */
export interface DefaultTargetOptions {
  /** The folder, made when missing. */
  readonly folder: string;
  readonly sizeBytes: number;
  /** Called again and again while another process is making the file; throwing gives up. */
  onWait(path: string): void;
  /** Called before the first byte and after each chunk; throwing gives the file up. */
  onProgress(path: string, writtenBytes: number, sizeBytes: number): void;
}

/** The user's cache folder of plugio: below XDG_CACHE_HOME, or else below ~/.cache. */
export function cacheFolder(env: { get(name: string): string | undefined }): string {
  const base = env.get("XDG_CACHE_HOME");
  // The XDG base directory specification wants relative paths ignored.
  if (base !== undefined && base.startsWith("/")) return join(base, "plugio");
  const home = env.get("HOME");
  if (home !== undefined && home.startsWith("/")) return join(home, ".cache", "plugio");
  throw failed("Cannot find the cache folder for the default file: wanted HOME or XDG_CACHE_HOME set, or a TARGET");
}

/** Where the default file is, or will be. */
export function defaultTargetPath({ folder, sizeBytes }: Pick<DefaultTargetOptions, "folder" | "sizeBytes">): string {
  return join(folder, `randread-${formatSize(sizeBytes)}.bin`);
}

/**
 * Path of the default file, which is made of real random bytes unless a good one is there from last time.
 *
 * The new file grows under a temporary name that carries the lock: a second process waits for the first, the lock of
 * one that was killed is gone with it, and its leftover is overwritten.
 */
export async function ensureDefaultTarget(options: DefaultTargetOptions): Promise<string> {
  const path = defaultTargetPath(options);
  if (isGood(path, options.sizeBytes)) return path;
  makeFolder(options.folder);
  const temporaryPath = `${path}.part`;
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    using file = Deno.openSync(temporaryPath, { write: true, create: true });
    while (!await file.tryLock(true)) {
      options.onWait(path);
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
    }
    if (isGood(path, options.sizeBytes)) {
      removeIfSame(temporaryPath, file);
      return path;
    }
    // The process that held the lock may have renamed or removed what was opened here.
    if (!isSameFile(temporaryPath, file)) continue;
    await fill(file, path, temporaryPath, options);
    return path;
  }
  throw failed(`Cannot make ${path}: other processes keep replacing it, wanted one at a time`);
}

/** A file of the right size and without holes. Allocated blocks tell holes for next to nothing. */
function isGood(path: string, sizeBytes: number): boolean {
  try {
    const info = Deno.statSync(path);
    return info.isFile && info.size === sizeBytes && (info.blocks ?? 0) * SECTOR_BYTES >= sizeBytes;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw failed(`Cannot look at the default file ${path}: ${message(error)}, wanted a readable file`, error);
  }
}

function makeFolder(folder: string): void {
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw failed(`Cannot make the cache folder ${folder}: ${message(error)}, wanted a writable XDG_CACHE_HOME`, error);
  }
}

async function fill(
  file: Deno.FsFile,
  path: string,
  temporaryPath: string,
  options: DefaultTargetOptions,
): Promise<void> {
  try {
    refuseFullDisk(path, options);
    file.truncateSync(0);
    await writeRandom(file, path, options);
    await file.sync();
    Deno.renameSync(temporaryPath, path);
  } catch (error) {
    removeIfSame(temporaryPath, file);
    if (error instanceof CliError || error instanceof Deno.errors.NotCapable) throw error;
    throw failed(`Cannot make the default file ${path}: ${message(error)}, wanted ${roomWanted(options)}`, error);
  }
}

async function writeRandom(file: Deno.FsFile, path: string, options: DefaultTargetOptions): Promise<void> {
  const chunk = new Uint8Array(Math.min(CHUNK_BYTES, options.sizeBytes));
  options.onProgress(path, 0, options.sizeBytes);
  for (let written = 0; written < options.sizeBytes;) {
    const part = chunk.subarray(0, Math.min(chunk.byteLength, options.sizeBytes - written));
    randomFillSync(part);
    for (let done = 0; done < part.byteLength;) done += await file.write(part.subarray(done));
    written += part.byteLength;
    options.onProgress(path, written, options.sizeBytes);
  }
}

/** Before the first byte where looking is permitted; else ENOSPC tells later. */
function refuseFullDisk(path: string, options: DefaultTargetOptions): void {
  if (Deno.permissions.querySync({ name: "sys", kind: "statfs" }).state !== "granted") return;
  const { bavail, bsize } = statfsSync(options.folder);
  const freeBytes = bavail * bsize;
  if (freeBytes >= options.sizeBytes + RESERVE_BYTES) return;
  throw failed(
    `Cannot make the default file ${path}: ${formatSize(freeBytes)} are free, wanted ${roomWanted(options)}`,
  );
}

function roomWanted(options: DefaultTargetOptions): string {
  return `${formatSize(options.sizeBytes + RESERVE_BYTES)} of room; or name a TARGET, or another XDG_CACHE_HOME`;
}

function removeIfSame(temporaryPath: string, file: Deno.FsFile): void {
  if (isSameFile(temporaryPath, file)) Deno.removeSync(temporaryPath);
}

function isSameFile(path: string, file: Deno.FsFile): boolean {
  try {
    const [named, opened] = [Deno.statSync(path), file.statSync()];
    return named.ino === opened.ino && named.dev === opened.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
