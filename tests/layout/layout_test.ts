/** Every C struct and constant that plugio writes down, compared with this machine's headers by a compiled probe. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StructLayout } from "../../core/base/layout.ts";
import { struct, wordIndex } from "../../core/base/layout.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";

/** Rooms whose folders have layout modules. */
const ROOMS = ["ffi", "devices"] as const;

/** liburing's own handle may grow at its end: the buffer for it has this many bytes (HANDLE_BYTES of liburing/mod.ts). */
const HANDLE_BYTES = 1024;

/** Structs that may be larger in newer headers than in the table, and the most that there is room for. */
const MAY_GROW: Readonly<Record<string, number>> = {
  "struct io_uring": HANDLE_BYTES,
  // Later fields belong to features that are not offered; vhost-user has room for 256 bytes.
  "struct virtio_blk_config": 256,
};

/** The header of our own C helper, beside its layouts. */
const OWN_HEADERS = fileURLToPath(new URL("../../ffi/vfio_nvme", import.meta.url));

interface Constant {
  readonly header: string;
  readonly value: number | bigint;
}

/** What a layout module exports: layouts and tables of constants, by name. */
interface Tables {
  readonly layouts: StructLayout[];
  readonly constants: Record<string, Constant>;
}

function isLayout(value: unknown): value is StructLayout {
  return typeof value === "object" && value !== null && "cType" in value && "byteLength" in value;
}

function isConstants(value: unknown): value is Record<string, Constant> {
  if (typeof value !== "object" || value === null || isLayout(value)) return false;
  return Object.values(value).every((entry) => typeof entry === "object" && entry !== null && "header" in entry);
}

/** All layout.ts of the rooms' folders, found by looking: a new one cannot be forgotten. By name of the folder. */
async function allTables(): Promise<Map<string, Tables>> {
  const tables = new Map<string, Tables>();
  for (const room of ROOMS) {
    const folder = fileURLToPath(new URL(`../../${room}`, import.meta.url));
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      if (!isDirectory || !exists(join(folder, name, "layout.ts"))) continue;
      tables.set(name, tablesOf(name, await import(`../../${room}/${name}/layout.ts`)));
    }
  }
  return tables;
}

function tablesOf(name: string, module: Record<string, unknown>): Tables {
  const values = Object.values(module);
  const constants: Record<string, Constant> = Object.assign({}, ...values.filter(isConstants));
  if (name === "libc") constants["O_DIRECT"] = { header: "fcntl.h", value: module["O_DIRECT"] as number };
  return { layouts: values.filter(isLayout), constants };
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A C program that prints one line for each size, offset and constant, and `missing` for what the headers lack. */
function probeSource({ layouts, constants }: Tables): string {
  const headers = new Set([...layouts, ...Object.values(constants)].map(({ header }) => header));
  // glibc's view of struct statx has its fields since 2.28; linux/stat.h is what the kernel itself says.
  const lines = ["#define _GNU_SOURCE", "#include <stddef.h>", "#include <stdio.h>"];
  for (const header of [...headers].sort()) lines.push(`#include <${header}>`);
  lines.push("int main(void) {");
  for (const { cType, fields } of layouts) {
    lines.push(`  printf("sizeof ${cType} = %lld\\n", (long long)sizeof(${cType}));`);
    for (const { name } of Object.values(fields)) {
      lines.push(`  printf("offsetof ${cType} ${name} = %lld\\n", (long long)offsetof(${cType}, ${name}));`);
    }
  }
  for (const name of Object.keys(constants)) {
    lines.push(`  printf("constant ${name} = %lld\\n", (long long)(${name}));`);
  }
  lines.push("  return 0;", "}", "");
  return lines.join("\n");
}

/** What the tables say, in the words of the probe. */
function expectedLines({ layouts, constants }: Tables): Map<string, bigint> {
  const lines = new Map<string, bigint>();
  for (const { cType, byteLength, fields } of layouts) {
    lines.set(`sizeof ${cType}`, BigInt(byteLength));
    for (const { name, offset } of Object.values(fields)) lines.set(`offsetof ${cType} ${name}`, BigInt(offset));
  }
  for (const [name, { value }] of Object.entries(constants)) lines.set(`constant ${name}`, BigInt(value));
  return lines;
}

/** Compiles and runs the probe; what it printed. Throws with the compiler's words. */
function runProbe(source: string): Map<string, bigint> {
  using dir = new TempDir();
  const [input, output] = [join(dir.path, "probe.c"), join(dir.path, "probe")];
  Deno.writeTextFileSync(input, source);
  const compiled = new Deno.Command("cc", { args: ["-std=gnu11", `-I${OWN_HEADERS}`, "-o", output, input] })
    .outputSync();
  if (!compiled.success) throw new Error(`cc failed:\n${new TextDecoder().decode(compiled.stderr)}`);
  const { stdout } = new Deno.Command(output).outputSync();
  const lines = new TextDecoder().decode(stdout).trim().split("\n").map((line) => line.split(" = "));
  return new Map(lines.map(([name, value]) => [name!, BigInt(value!)]));
}

/** Lines on which table and headers differ. */
function differences(tables: Tables): string[] {
  const actual = runProbe(probeSource(tables));
  return [...expectedLines(tables)].flatMap(([name, expected]) => {
    const found = actual.get(name)!;
    const room = MAY_GROW[name.replace("sizeof ", "")];
    if (room !== undefined && found >= expected && found <= BigInt(room)) return [];
    return found === expected ? [] : [`${name}: the headers say ${found}, the table ${expected}`];
  });
}

function hasCompiler(): true | string {
  try {
    return new Deno.Command("cc", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success ||
      "cc does not run";
  } catch {
    return "there is no C compiler (cc)";
  }
}

/** True when a header can be included; the headers may also lie where C_INCLUDE_PATH points. */
function hasHeader(header: string): boolean {
  try {
    runProbe(probeSource({ layouts: [], constants: { "0": { header, value: 0 } } }));
    return true;
  } catch {
    return false;
  }
}

const HAS_CC = hasCompiler();
const TABLES = await allTables();

Deno.test("there are tables to compare: every library with structs has its layout module", () => {
  for (const name of ["libc", "liburing", "virtio", "virtio_blk", "virtio_scsi", "vhost_user"]) {
    assert.ok(TABLES.has(name), name);
  }
  assert.ok(TABLES.get("liburing")!.layouts.length >= 6);
  assert.ok(Object.keys(TABLES.get("libc")!.constants).length >= 30);
});

for (const [library, tables] of TABLES) {
  const headers = [...new Set([...tables.layouts, ...Object.values(tables.constants)].map(({ header }) => header))];
  const missing = HAS_CC === true ? headers.filter((header) => !hasHeader(header)) : [];
  const ready = HAS_CC !== true ? HAS_CC : missing.length === 0 || `the headers lack ${missing.join(", ")}`;
  testWhen(ready, `sizes, offsets and constants of ${library} are those of the headers`, () => {
    assert.deepEqual(differences(tables), []);
  });
}

const SAMPLE: Tables = {
  layouts: [
    struct("struct iovec", "sys/uio.h", 16, { base: ["iov_base", "pointer", 0], length: ["iov_len", "u64", 8] }),
  ],
  constants: { O_CREAT: { header: "fcntl.h", value: 0o100 } },
};

testWhen(HAS_CC, "a table that is right has no differences", () => {
  assert.deepEqual(differences(SAMPLE), []);
});

testWhen(HAS_CC, "a wrong offset, size or constant is found and named", () => {
  const [layout] = SAMPLE.layouts;
  const wrongOffset = { ...layout!, fields: { length: { name: "iov_len", kind: "u64" as const, offset: 4 } } };
  assert.deepEqual(differences({ layouts: [wrongOffset], constants: {} }), [
    "offsetof struct iovec iov_len: the headers say 8, the table 4",
  ]);
  assert.deepEqual(differences({ layouts: [{ ...layout!, byteLength: 24 }], constants: {} }), [
    "sizeof struct iovec: the headers say 16, the table 24",
  ]);
  const wrong = { O_CREAT: { header: "fcntl.h", value: 100 } };
  assert.deepEqual(differences({ layouts: [], constants: wrong }), [
    "constant O_CREAT: the headers say 64, the table 100",
  ]);
});

testWhen(HAS_CC, "a field or constant that the headers do not have is an error of the compiler", () => {
  const [layout] = SAMPLE.layouts;
  const unknown = { ...layout!, fields: { other: { name: "iov_other", kind: "u64" as const, offset: 0 } } };
  assert.throws(() => differences({ layouts: [unknown], constants: {} }), /iov_other/);
});

testWhen(HAS_CC, "the handle of liburing may be larger than its table, within the room that there is for it", () => {
  const handle = TABLES.get("liburing")!.layouts.find(({ cType }) => cType === "struct io_uring")!;
  assert.deepEqual(differences({ layouts: [{ ...handle, byteLength: handle.byteLength - 8 }], constants: {} }), []);
  assert.equal(differences({ layouts: [{ ...handle, byteLength: 4096 }], constants: {} }).length, 1);
});

Deno.test("a word index of a field that is not aligned to words is a RangeError", () => {
  const layout = struct("struct odd", "odd.h", 8, { half: ["half", "u16", 2], whole: ["whole", "u32", 4] });
  assert.equal(wordIndex(layout, "whole"), 1);
  assert.throws(() => wordIndex(layout, "half"), RangeError);
});
