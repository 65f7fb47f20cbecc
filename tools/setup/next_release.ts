/**
 * The package sources of the next release, made from the machine's own: the same mirrors and keys, another name.
 *
 * @module
 */

import { join } from "node:path";
import { exists } from "./present.ts";

/** Releases whose successor has packages that run here: these need a C library that both have. */
const NEXT_RELEASE: Readonly<Record<string, string>> = { bookworm: "trixie" };

/** True where the release after the machine's is known. */
export function hasNextRelease(systemRoot = "/"): boolean {
  return NEXT_RELEASE[codenameOf(systemRoot)] !== undefined;
}

function codenameOf(systemRoot: string): string {
  return /^VERSION_CODENAME=(\S+)/m.exec(readOr(join(systemRoot, "/etc/os-release")))?.[1] ?? "";
}

/** What apt-get has to be told. */
interface NextRelease {
  /** Name of the release. */
  readonly release: string;
  /** Options for sources and lists. */
  readonly options: readonly string[];
}

/** Writes the sources below `workDir`; the reason where this machine's release has no successor that is known. */
export function writeNextRelease(workDir: string, systemRoot = "/"): NextRelease | string {
  const at = (path: string) => join(systemRoot, path);
  const codename = codenameOf(systemRoot);
  const release = NEXT_RELEASE[codename];
  if (release === undefined) return `no later release is known for ${JSON.stringify(codename)}`;
  const partsDir = join(workDir, "sources");
  const listsDir = join(workDir, "next-lists");
  Deno.mkdirSync(partsDir, { recursive: true });
  Deno.mkdirSync(join(listsDir, "partial"), { recursive: true });
  const rename = (text: string) => text.replace(new RegExp(`\\b${codename}\\b`, "g"), release);
  for (const { name, text } of sources(at)) Deno.writeTextFileSync(join(partsDir, name), rename(text));
  return {
    release,
    options: [
      ...["-o", "Dir::Etc::SourceList=/dev/null"],
      ...["-o", `Dir::Etc::SourceParts=${partsDir}`],
      ...["-o", `Dir::State::Lists=${listsDir}`],
      // A preference for the machine's own release would hide the packages.
      ...["-o", "APT::Default-Release=", "-o", "Dir::Etc::Preferences=/dev/null"],
      ...["-o", "Dir::Etc::PreferencesParts=/dev/null"],
    ],
  };
}

function sources(at: (path: string) => string): { name: string; text: string }[] {
  const parts = at("/etc/apt/sources.list.d");
  const names = exists(parts) ? [...Deno.readDirSync(parts)].map(({ name }) => name) : [];
  return [
    { name: "main.list", text: readOr(at("/etc/apt/sources.list")) },
    ...names.filter((name) => /\.(list|sources)$/.test(name))
      .map((name) => ({ name, text: readOr(join(parts, name)) })),
  ];
}

function readOr(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
