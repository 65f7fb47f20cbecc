/**
 * Unpacks Debian packages into the project's own ignored folder: no root, nothing outside the checkout changes.
 *
 * ```text
 * .native/unpacked/<need>/   the packages' files as they would lie under /
 * .native/lib/<soname>       the library, for ffi/loader.ts
 * .native/include/           headers, for the C compiler
 * .native/bin/               wrappers for programs
 * ```
 *
 * @module
 */

import { join } from "node:path";
import { say } from "../say.ts";
import { run } from "./command.ts";
import { hasNextRelease, writeNextRelease } from "./next_release.ts";
import { publish } from "./publish.ts";
import type { Need } from "./needs.ts";

/** Unpacks the packages of each need and places what it promises; says why where that does not work. */
export async function installLocally(needs: readonly Need[], nativeDir: string): Promise<void> {
  if (needs.length === 0) return;
  Deno.mkdirSync(nativeDir, { recursive: true });
  // Its own folder for each run: two at once work side by side and meet only in a rename.
  const workDir = Deno.makeTempDirSync({ dir: nativeDir, prefix: "tmp-" });
  try {
    const apt = new LocalApt(workDir);
    for (const need of needs) {
      const names = need.packages.debian.join(" ");
      say(`setup: unpacking ${names} into .native (needed for ${need.why})`);
      const needDir = join(workDir, need.id);
      Deno.mkdirSync(needDir);
      const reason = await unpack(need, needDir, apt, nativeDir).catch((error: Error) => error.message);
      if (reason !== undefined) say(`setup: could not unpack ${names}: ${reason}`);
    }
  } finally {
    Deno.removeSync(workDir, { recursive: true });
  }
}

/** Unpacks below the folder and places the result; the reason when it does not work, else `undefined`. */
async function unpack(
  need: Need,
  needDir: string,
  apt: LocalApt,
  nativeDir: string,
): Promise<string | undefined> {
  const debDir = join(needDir, "debs");
  const treeDir = join(needDir, "tree");
  for (const dir of [debDir, treeDir]) Deno.mkdirSync(dir);
  const failure = await apt.download(need, debDir);
  if (failure !== undefined) return `apt-get: ${failure}`;
  for (const { name } of Deno.readDirSync(debDir)) {
    const unpacked = await run("dpkg", ["-x", join(debDir, name), treeDir]);
    if (!unpacked.ok) return `dpkg: ${unpacked.reason}`;
  }
  publish(need, treeDir, nativeDir);
  return undefined;
}

/** apt-get with a cache of its own, and package lists of its own once the machine's have failed. */
class LocalApt {
  #options: string[];
  readonly #basic: readonly string[];
  readonly #workDir: string;
  #listsDir: string;
  #hasOwnLists = false;
  #next: readonly string[] | null = null;

  constructor(workDir: string) {
    const cacheDir = join(workDir, "cache");
    this.#listsDir = join(workDir, "lists");
    for (const dir of [join(cacheDir, "archives/partial"), join(this.#listsDir, "partial")]) {
      Deno.mkdirSync(dir, { recursive: true });
    }
    // apt as root changes to another user for downloads, who may not write here.
    const sandbox = Deno.uid() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
    this.#workDir = workDir;
    this.#basic = ["-q", "-o", `Dir::Cache=${cacheDir}`, ...sandbox];
    this.#options = [...this.#basic];
  }

  /** Downloads the need's packages with the dependencies that are not installed; the reason when it fails. */
  async download(need: Need, debDir: string): Promise<string | undefined> {
    if (need.wholeFromNext === true && hasNextRelease()) return await this.#downloadFromNext(need, debDir);
    const failure = await fetchDebs(need, this.#options, debDir);
    if (failure === undefined) return undefined;
    if (need.newInDebian === true) return await this.#downloadFromNext(need, debDir);
    if (this.#hasOwnLists) return failure;
    // Absent or outdated lists are the usual cause.
    say("setup: fetching package lists into .native");
    this.#hasOwnLists = true;
    this.#options = [...this.#options, "-o", `Dir::State::lists=${this.#listsDir}`];
    const updated = await run("apt-get", [...this.#options, "update"]);
    return updated.ok ? await fetchDebs(need, this.#options, debDir) : updated.reason;
  }

  /** From the next release of this distribution, with sources and lists of our own: the machine's stay as they are. */
  async #downloadFromNext(need: Need, debDir: string): Promise<string | undefined> {
    if (this.#next === null) {
      const sources = writeNextRelease(this.#workDir);
      if (typeof sources === "string") return sources;
      say(`setup: fetching package lists of ${sources.release} into .native`);
      this.#next = [...this.#basic, ...sources.options];
      // Sources of others may have no such release; what matters is whether the packages are found.
      await run("apt-get", [...this.#next, "update"]);
    }
    return await fetchDebs(need, this.#next, debDir);
  }
}

async function fetchDebs(need: Need, options: readonly string[], debDir: string): Promise<string | undefined> {
  // A compiler looks for headers only inside its tree, so installed packages have to be in it, too.
  const isCompiler = need.checks.some((check) => check.kind === "command" && check.compiler);
  // The same where one package is wanted whether the machine has it or not, and where nothing of the machine's is used.
  const isWhole = need.wholeFromNext === true;
  const anyway = isCompiler || isWhole || need.onlyPackage !== undefined;
  const nothingInstalled = anyway ? ["-o", "Dir::State::status=/dev/null"] : [];
  // The simulation names the dependencies that are missing here; it needs no rights and takes no lock.
  const simulate = [...options, ...nothingInstalled, "-s", "install", "--no-install-recommends"];
  const simulated = await run("apt-get", [...simulate, ...need.packages.debian]);
  if (!simulated.ok) return simulated.reason;
  const inst = [...simulated.stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name as string);
  const { onlyPackage } = need;
  const names = onlyPackage === undefined
    ? new Set([...need.packages.debian, ...inst])
    : new Set(inst.filter((name) => onlyPackage.test(name)));
  if (onlyPackage !== undefined && names.size !== 1) {
    return `found ${[...names].join(" ") || "nothing"} for ${onlyPackage}: expected exactly one package`;
  }
  // A package that was renamed answers to its old name in an installation, but cannot be downloaded by it.
  for (const [, old] of simulated.stdout.matchAll(/^Note, selecting '\S+' instead of '(\S+)'/gm)) names.delete(old!);
  // Every machine has the C library, and a program must not run with another one than its loader's.
  if (!isWhole) names.delete("libc6");
  const downloaded = await run("apt-get", [...options, "download", ...names], debDir);
  return downloaded.ok ? undefined : downloaded.reason;
}
