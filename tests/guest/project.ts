/**
 * This project as the guest gets it: sources, and the npm packages of the lock file in a cache that needs no network.
 *
 * @module
 */

import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { exists } from "../../tools/setup/present.ts";
import type { CpioWriter } from "./cpio.ts";
import { DEV_LOCK } from "../../tools/dev_lock.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** Where the project lies in the guest. */
export const GUEST_PROJECT = "/plugio";

/** The DENO_DIR of the guest. */
export const GUEST_DENO_DIR = "/deno";

/** Folders that are no sources. */
const LEFT_OUT = new Set([".git", ".native", "coverage", "node_modules"]);

/** Adds sources and packages to the guest's files. */
export async function addProject(archive: CpioWriter): Promise<void> {
  addTree(archive, ROOT, GUEST_PROJECT);
  await addTranspiled(archive);
  const cache = await npmCache();
  for (const { name, version } of lockedPackages()) {
    for (const registry of Deno.readDirSync(cache)) {
      const from = join(cache, registry.name, name);
      if (!exists(join(from, version))) continue;
      const to = join(GUEST_DENO_DIR, "npm", registry.name, name);
      addTree(archive, join(from, version), join(to, version));
      const index = join(from, "registry.json");
      if (exists(index)) archive.file(join(to, "registry.json"), Deno.readFileSync(index));
    }
  }
}

/** Adds what Deno makes of the sources: under emulation that takes seconds for each program that starts. */
async function addTranspiled(archive: CpioWriter): Promise<void> {
  const sources = listSources(ROOT);
  await deno("cache", "-q", DEV_LOCK, ...sources);
  const { typescriptCache } = await denoInfo();
  for (const source of sources) {
    const made = join(typescriptCache, "file", `${source}.js`);
    const to = join(GUEST_DENO_DIR, "gen/file", GUEST_PROJECT, `${relative(ROOT, source)}.js`);
    // Only a help: what is missing is made in the guest.
    if (exists(made)) archive.file(to, Deno.readFileSync(made));
  }
}

/** The modules that programs in a guest are made of. */
function listSources(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory, isFile }) => {
    const path = join(folder, name);
    if (isDirectory) return LEFT_OUT.has(relative(ROOT, path)) ? [] : listSources(path);
    return isFile && name.endsWith(".ts") ? [path] : [];
  });
}

/** The npm part of this machine's cache, filled with what the project imports. */
async function npmCache(): Promise<string> {
  await deno("cache", "-q", DEV_LOCK, ...Object.keys(devLock().specifiers));
  return (await denoInfo()).npmCache;
}

/** Where this machine's Deno keeps what it has fetched and made. */
async function denoInfo(): Promise<{ npmCache: string; typescriptCache: string }> {
  return JSON.parse(await deno("info", "--json"));
}

/** What the tests and the command line import, and all that it brings along. */
function devLock(): { readonly specifiers: Record<string, string>; readonly npm: Record<string, unknown> } {
  return JSON.parse(Deno.readTextFileSync(join(ROOT, "tools/dev.lock")));
}

/** Name and version of each package, from `name@version` or `name@version_of-a-peer@version`. */
function lockedPackages(): { name: string; version: string }[] {
  return Object.keys(devLock().npm).map((key) => {
    const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(key) ?? [];
    if (name === undefined || version === undefined) {
      throw new Error(`Cannot read ${key} of tools/dev.lock: expected name@version`);
    }
    return { name, version };
  });
}

function addTree(archive: CpioWriter, from: string, to: string): void {
  for (const { name, isDirectory, isFile } of Deno.readDirSync(from)) {
    const path = join(from, name);
    if (isDirectory && !LEFT_OUT.has(relative(ROOT, path))) addTree(archive, path, join(to, name));
    if (!isFile) continue;
    const permissions = (Deno.statSync(path).mode ?? 0o644) & 0o777;
    archive.file(join(to, name), Deno.readFileSync(path), permissions);
  }
}

async function deno(...args: string[]): Promise<string> {
  const output = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, env: { NO_COLOR: "1" } }).output();
  const decoder = new TextDecoder();
  if (!output.success) throw new Error(`deno ${args[0]} failed: ${decoder.decode(output.stderr)}`);
  return decoder.decode(output.stdout);
}
