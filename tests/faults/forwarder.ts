/**
 * A shared library that stands for libc, liburing, libaio and libblkio at once: each function of the symbol tables of
 * ffi/ counts its calls and hands them on, and one call of one function can be made to fail the way that function
 * fails. Generated from the tables, so that a function which is added there is in the campaign at once.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LIBAIO, LIBAIO_SYMBOLS } from "../../ffi/libaio/symbols.ts";
import { LIBBLKIO, LIBBLKIO_SYMBOLS } from "../../ffi/libblkio/symbols.ts";
import { LIBC, LIBC_SYMBOLS } from "../../ffi/libc/symbols.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../../ffi/liburing/symbols.ts";
import type { LibrarySpec } from "../../ffi/loader.ts";
import { CONTROLS } from "./controls_source.ts";

/** How a call that is to fail does so. */
type Failing =
  /** −1 and errno. */
  | "errno"
  /** MAP_FAILED and errno. */
  | "map"
  /** −errno. */
  | "negative"
  /** errno itself. */
  | "positive"
  /** NULL, without an errno. */
  | "null"
  /** −1, without an errno. */
  | "minus one"
  /** It cannot fail. */
  | "never";

/** A function of the library. */
export interface ForwardedSymbol {
  /** Its name in C. */
  readonly name: string;
  /** The library that it stands for: `"libc"`. */
  readonly library: string;
  /** How it fails. */
  readonly failing: Failing;
}

interface Signature {
  readonly parameters: readonly Deno.NativeType[];
  readonly result: Deno.NativeResultType;
}

const LIBRARIES: readonly (readonly [LibrarySpec, Deno.ForeignLibraryInterface])[] = [
  [LIBC, LIBC_SYMBOLS],
  [LIBURING, LIBURING_SYMBOLS],
  [LIBAIO, LIBAIO_SYMBOLS],
  [LIBBLKIO, LIBBLKIO_SYMBOLS],
];

/** Functions with a variable number of arguments, and how many are fixed: the others go by the variadic convention. */
const FIXED_PARAMETERS: Readonly<Record<string, number>> = { open: 2, ioctl: 2, fcntl: 2, syscall: 1 };

/** What does its work and reports a failure all the same: close(2) gives the descriptor back whatever it answers. */
const DONE_ALL_THE_SAME: ReadonlySet<string> = new Set(["close"]);

/** What a failure leaves behind by its nature: memory that stays mapped, a context that stays. */
const KEEPS: Readonly<Record<string, string>> = {
  munmap: "keep(a0, a1, (int (*)(void *, size_t)) forwarded_munmap);",
  io_destroy: "keep(a0, 0, (int (*)(void *, size_t)) forwarded_io_destroy);",
};

/** What is in use after a call that worked; `result` is its answer. */
const LEDGER: Readonly<Record<string, string>> = {
  mmap: "if (result != MAP_FAILED) { live_bytes += (long) a1; live_maps++; }",
  munmap: "if (result == 0) { live_bytes -= (long) a1; live_maps--; forget(a0); }",
  io_setup: "if (result == 0) live_contexts++;",
  io_destroy: "if (result == 0) { live_contexts--; forget(a0); }",
};

/** What returns a value that tells of no failure. */
const NEVER: ReadonlySet<string> = new Set(["__errno_location", "getpid", "gettid", "blkio_get_error_msg"]);

const C_TYPES: Readonly<Record<string, string>> = {
  i32: "int32_t",
  u32: "uint32_t",
  i64: "int64_t",
  u64: "uint64_t",
  usize: "size_t",
  bool: "bool",
  pointer: "void *",
  buffer: "void *",
  void: "void",
};

/** The functions in the order of their numbers. Two entries of a table for one function are one. */
export const FORWARDED: readonly ForwardedSymbol[] = symbolsOf().map(({ name, library, signature }) => ({
  name,
  library,
  failing: failingOf(name, library, signature),
}));

function symbolsOf(): { name: string; library: string; signature: Signature }[] {
  const found = new Map<string, { name: string; library: string; signature: Signature }>();
  for (const [{ name: library }, table] of LIBRARIES) {
    for (const [key, symbol] of Object.entries(table)) {
      // An address that is asked for is that of a function which is in the table as well.
      if ("type" in symbol) continue;
      const name = symbol.name ?? key;
      const signature = symbol as Signature;
      // The longest of several for one name: what a shorter one leaves out is passed on as it comes.
      const known = found.get(name)?.signature.parameters.length ?? -1;
      if (signature.parameters.length > known) found.set(name, { name, library, signature });
    }
  }
  return [...found.values()];
}

function failingOf(name: string, library: string, { result }: Signature): Failing {
  if (result === "void" || NEVER.has(name)) return "never";
  if (name === "mmap") return "map";
  if (result === "pointer") return "null";
  if (name.startsWith("pthread_")) return "positive";
  if (name === "blkioq_get_completion_fd") return "minus one";
  return library === "libc" ? "errno" : "negative";
}

const cType = (type: Deno.NativeResultType) => C_TYPES[type as string]!;

/** The statement that fails. */
function failure(failing: Failing): string {
  switch (failing) {
    case "errno":
      return "{ errno = error; return -1; }";
    case "map":
      return "{ errno = error; return MAP_FAILED; }";
    case "negative":
      return "return -error;";
    case "positive":
      return "return error;";
    case "null":
      return "{ errno = error; return NULL; }";
    case "minus one":
      return "return -1;";
    case "never":
      return "{}";
  }
}

function functionSource({ name, signature }: ReturnType<typeof symbolsOf>[number], index: number): string {
  const { parameters, result } = signature;
  const types = parameters.map(cType);
  const declared = types.map((type, at) => `${type} a${at}`).join(", ") || "void";
  const fixed = FIXED_PARAMETERS[name];
  const prototype = fixed === undefined ? types.join(", ") || "void" : `${types.slice(0, fixed).join(", ")}, ...`;
  const call = `real(${types.map((_, at) => `a${at}`).join(", ")})`;
  const { failing, library } = FORWARDED[index]!;
  const lines = [
    `static ${cType(result)} forwarded_${name}(${declared}) {`,
    `  static ${cType(result)} (*real)(${prototype});`,
    `  if (!real) real = resolve(${LIBRARIES.findIndex(([{ name }]) => name === library)}, "${name}");`,
  ];
  if (failing !== "never") {
    const before = DONE_ALL_THE_SAME.has(name) ? `${call}; ` : KEEPS[name] === undefined ? "" : `${KEEPS[name]} `;
    lines.push(`  int error = due(${index});`, `  if (error) { ${before}${failure(failing)} }`);
  }
  if (name === "blkio_get_error_msg") lines.push("  if (last_injected) return last_injected;");
  const ledger = LEDGER[name];
  if (result === "void") lines.push(`  ${call};`);
  else if (ledger === undefined) lines.push(`  return ${call};`);
  else lines.push(`  ${cType(result)} result = ${call};`, `  ${ledger}`, "  return result;");
  lines.push(
    "}",
    // Under a name of its own in C, so that no prototype of a header contradicts that of the table.
    `${cType(result)} exported_${name}(${declared}) __asm__("${name}");`,
    `${cType(result)} exported_${name}(${declared}) {`,
    `  ${result === "void" ? "" : "return "}forwarded_${name}(${types.map((_, at) => `a${at}`).join(", ")});`,
    "}",
  );
  return lines.join("\n");
}

/** The names under which the real libraries are tried, as the loader does. */
function realNames({ sonames }: LibrarySpec): string {
  const folder = fileURLToPath(new URL("../../.native/lib/", import.meta.url));
  return [...sonames.map((soname) => folder + soname), ...sonames].map((each) => JSON.stringify(each)).join(", ");
}

/** The C source. */
export function forwarderSource(): string {
  const names = FORWARDED.map(({ name }) => JSON.stringify(name)).join(",\n  ");
  return [
    `#define SYMBOLS ${FORWARDED.length}`,
    CONTROLS,
    `static const char *const names[SYMBOLS] = {\n  ${names}\n};`,
    ...LIBRARIES.map(([spec], index) => `static const char *const real${index}[] = { ${realNames(spec)}, NULL };`),
    `static const char *const *const libraries[] = { ${LIBRARIES.map((_, index) => `real${index}`).join(", ")} };`,
    ...symbolsOf().map(functionSource),
  ].join("\n\n") + "\n";
}

/** Compiles it into `folder`; returns the path of the library. */
export async function buildForwarder(folder: string): Promise<string> {
  const source = join(folder, "faults.c");
  const library = join(folder, "libfaults.so");
  Deno.writeTextFileSync(source, forwarderSource());
  const flags = [
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wno-cast-function-type",
    "-fno-builtin",
    "-fPIC",
    "-shared",
    "-pthread",
  ];
  const { success, stderr } = await new Deno.Command("cc", { args: [...flags, "-o", library, source, "-ldl"] })
    .output();
  if (!success) throw new Error(`Cannot build the forwarding library: ${new TextDecoder().decode(stderr)}`);
  return library;
}

/** What makes a process use the library at `path` for everything; `armed` as {@link armedText} writes it. */
export function forwarderEnvironment(path: string, armed?: string): Record<string, string> {
  const overrides = LIBRARIES.map(([{ overrideVariable }]) => [overrideVariable, path] as const);
  // The runtime asks whether there is a newer one after a second, by a connection of its own.
  return {
    ...Object.fromEntries(overrides),
    DENO_NO_UPDATE_CHECK: "1",
    ...armed === undefined ? {} : { PLUGIO_FAULT: armed },
  };
}
