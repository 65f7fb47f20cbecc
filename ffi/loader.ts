import { pinLibrary } from "./pin.ts";
import { StorageError } from "../core/base/errors.ts";
import { assertDeno } from "./runtime.ts";

/** What the loader must know of a shared library: how it is called, and what to tell a user who lacks it. */
export interface LibrarySpec {
  /** Short name, for messages: `"liburing"`. */
  readonly name: string;
  /** Names for the dynamic linker, the best first: `["liburing.so.2"]`. */
  readonly sonames: readonly string[];
  /** Environment variable that overrides the search with one path. */
  readonly overrideVariable: string;
  /** Package that holds the library, by distribution. */
  readonly packages: { readonly debian: string; readonly fedora: string; readonly arch: string };
  /** The command that builds it, for a library of this project; the packages are then those of the compiler. */
  readonly built?: string;
}

/** An opened library: its symbols, and the name under which it was found. */
interface LoadedLibrary<Symbols extends Deno.ForeignLibraryInterface> {
  /** Callable symbols. */
  readonly symbols: Deno.StaticForeignLibraryInterface<Symbols>;
  /** The name or path that opened. */
  readonly foundAs: string;
}

const opened = new Map<object, LoadedLibrary<Deno.ForeignLibraryInterface>>();

/**
 * Opens a library on first use and keeps it open for the life of the Worker.
 *
 * Looks at the override variable (alone, when it is set and may be read), then in the project's own `.native/lib`
 * folder, then asks the dynamic linker for each soname. Throws a {@link StorageError} of kind `library` that lists
 * every name tried with its cause, the package to install and the override variable.
 */
export function loadLibrary<const Symbols extends Deno.ForeignLibraryInterface>(
  spec: LibrarySpec,
  symbols: Symbols,
): LoadedLibrary<Symbols> {
  const known = opened.get(symbols);
  if (known !== undefined) return known as unknown as LoadedLibrary<Symbols>;
  assertDeno(spec.name);
  assertPermission(spec);
  const failures: string[] = [];
  for (const name of candidates(spec)) {
    try {
      const library = { symbols: Deno.dlopen(name, symbols).symbols, foundAs: name };
      pinLibrary(name);
      opened.set(symbols, library as unknown as LoadedLibrary<Deno.ForeignLibraryInterface>);
      return library;
    } catch (cause) {
      failures.push(`${name} (${reason(cause)})`);
    }
  }
  throw new StorageError({ kind: "library", op: "load", target: spec.name, detail: remedy(spec, failures) });
}

/** A missing permission is not a missing library, and a path for it is not enough: rings are reached by pointers. */
function assertPermission(spec: LibrarySpec): void {
  if (Deno.permissions.requestSync({ name: "ffi" }).state === "granted") return;
  throw new StorageError({
    kind: "library",
    op: "load",
    target: spec.name,
    detail: "Deno does not allow it; wanted --allow-ffi, without a path: rings and buffers are reached by pointers",
  });
}

function candidates(spec: LibrarySpec): string[] {
  const override = readOverride(spec.overrideVariable);
  if (override !== undefined) return [override];
  const names = [...spec.sonames];
  const folder = nativeFolder();
  if (folder !== null) {
    for (const soname of spec.sonames) {
      if (exists(folder + soname)) names.unshift(folder + soname);
    }
  }
  return names;
}

/** The folder of the set-up. From a registry the module is served over https, and there is none beside it. */
function nativeFolder(): string | null {
  const { protocol, pathname } = new URL("../.native/lib/", import.meta.url);
  return protocol === "file:" ? decodeURIComponent(pathname) : null;
}

/** What to allow where the library may be in a folder that was not looked at. */
function permissionHint(spec: LibrarySpec): string {
  const path = nativeFolder();
  if (path === null || readOverride(spec.overrideVariable) !== undefined) return "";
  if (Deno.permissions.querySync({ name: "read", path }).state === "granted") return "";
  return `, or --allow-read=${path} if the set-up has put it there: Deno does not allow to look`;
}

function readOverride(variable: string): string | undefined {
  // Asking for a variable that may not be read would prompt; the override is then simply not there.
  const state = Deno.permissions.querySync({ name: "env", variable }).state;
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}

function exists(path: string): boolean {
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return false;
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function reason(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.split("\n")[0]!.replace(/^Could not open library: /, "");
}

function remedy(spec: LibrarySpec, failures: readonly string[]): string {
  const { debian, fedora, arch } = spec.packages;
  const tried = failures.length === 0 ? "found no source to name it by" : `tried ${failures.join("; ")}`;
  const wanted = spec.built === undefined ? "wanted the package" : `wanted \`${spec.built}\`, which needs the package`;
  return `${tried}; ${wanted} ${debian} (Debian, Ubuntu), ${fedora} (Fedora) or ${arch} (Arch), ` +
    `or ${spec.overrideVariable}=PATH${permissionHint(spec)}`;
}
