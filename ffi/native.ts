/**
 * C sources of this project that are compiled where they are used: how the result is called. The name carries a hash of
 * the sources, so that a library of another version is never taken for this one.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** The C sources under ffi/, by library: the files that go into the hash, the first is the one that is compiled. */
export const NATIVE_SOURCES = {
  vfio_nvme: ["vfio_nvme.c", "vfio_nvme.h"],
} as const;

/** A library of {@link NATIVE_SOURCES}. */
export type NativeName = keyof typeof NATIVE_SOURCES;

/**
 * Flags of the compiler. `nodelete` keeps the code in memory after the last Worker that used it has ended, because a
 * destructor of the thread runs then.
 */
export const NATIVE_FLAGS: readonly string[] = [
  "-std=c11",
  "-O2",
  "-g",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-fPIC",
  "-shared",
  "-pthread",
  "-Wl,-z,nodelete",
];

/** Hexadecimal digits of the hash in the name: 64 bits. */
const HASH_DIGITS = 16;

/** URL of a source file of `name`. */
export function nativeSource(name: NativeName, file: string): URL {
  return new URL(`${name}/${file}`, import.meta.url);
}

/**
 * File name of the library: `libplugio_vfio_nvme-<hash>.so`. Null where the sources cannot be read: without
 * `--allow-read` for them, or when this module comes from a registry.
 */
export function nativeFileName(name: NativeName): string | null {
  if (typeof Deno === "undefined") return null;
  const hash = createHash("sha256").update(NATIVE_FLAGS.join(" "));
  for (const file of NATIVE_SOURCES[name]) {
    const url = nativeSource(name, file);
    if (url.protocol !== "file:") return null;
    if (Deno.permissions.querySync({ name: "read", path: url }).state !== "granted") return null;
    hash.update(Deno.readFileSync(url));
  }
  return `libplugio_${name}-${hash.digest("hex").slice(0, HASH_DIGITS)}.so`;
}
