import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import plugin from "../../tools/lint_plugin.ts";
import { FILE_LINES_MAX, FUNCTION_LINES_MAX, TEST_FILE_LINES_MAX } from "../../tools/lint/sizes.ts";
import { Scratch } from "../support/scratch.ts";

/** The rules that a file of this name and text breaks. */
function broken(path: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, path, source).map((diagnostic) => diagnostic.id.replace("plugio/", ""));
}

/** A file that imports one thing. */
function importing(specifier: string, how: (specifier: string) => string = (s) => `import { x } from "${s}";`): string {
  return how(specifier);
}

const ALLOWED: [from: string, specifier: string][] = [
  ["core/plug/plug.ts", "../base/errors.ts"],
  ["core/device/check.ts", "../queue/stats.ts"],
  ["core/queue/trace.ts", "node:diagnostics_channel"],
  ["ffi/loader.ts", "../core/base/errors.ts"],
  ["ffi/libc/mod.ts", "../loader.ts"],
  ["ffi/liburing/mod.ts", "../libc/mod.ts"],
  ["ffi/liburing/mod.ts", "./layout.ts"],
  ["drivers/io_uring/ring.ts", "../../ffi/liburing/mod.ts"],
  ["drivers/io_uring/ring.ts", "../../core/plug/plug.ts"],
  ["drivers/memory.ts", "../core/base/block.ts"],
  ["drivers/registry.ts", "./io_uring/mod.ts"],
  ["devices/virtio_blk/mod.ts", "../virtio/queue.ts"],
  ["devices/xen_block/mod.ts", "../disk/mod.ts"],
  ["mod.ts", "./drivers/registry.ts"],
  ["drivers/registry.ts", "./io_uring/descriptor.ts"],
  ["drivers/io_uring/descriptor.ts", "./mod.ts"],
  ["drivers/io_uring/descriptor.ts", "../descriptor.ts"],
  ["drivers/io_uring/descriptor.ts", "../probe/io_uring.ts"],
  ["drivers/testing.ts", "./memory/disk.ts"],
  ["devices/serve/mod.ts", "../virtio_blk/model.ts"],
  ["cli.ts", "./mod.ts"],
  ["cli/run.ts", "commander"],
  ["tests/core/plug_test.ts", "../../drivers/io_uring/ring.ts"],
  ["tests/core/plug_test.ts", "fast-check"],
  ["examples/log.ts", "../mod.ts"],
  ["examples/log.ts", "@plugio/plugio"],
  ["examples/log.ts", "@plugio/plugio/driver"],
  ["examples/log.ts", "../drivers/testing.ts"],
  ["cli/run.ts", "../drivers/driver.ts"],
  ["cli/run.ts", "../devices/serve/mod.ts"],
  ["tools/ok.ts", "./say.ts"],
];

const FORBIDDEN: [from: string, specifier: string][] = [
  ["core/plug/plug.ts", "../../ffi/loader.ts"],
  ["core/plug/plug.ts", "node:fs"],
  ["core/plug/plug.ts", "hdr-histogram-js"],
  ["ffi/loader.ts", "../core/plug/plug.ts"],
  ["core/base/errors.ts", "../plug/plug.ts"],
  ["core/queue/stats.ts", "../device/check.ts"],
  ["devices/disk/mod.ts", "../virtio/mod.ts"],
  ["devices/guest_ring/mod.ts", "../virtio/mod.ts"],
  ["ffi/loader.ts", "./liburing/mod.ts"],
  ["ffi/liburing/mod.ts", "../libaio/mod.ts"],
  ["ffi/liburing/mod.ts", "../../drivers/registry.ts"],
  ["drivers/io_uring/ring.ts", "../../ffi/libaio/mod.ts"],
  ["drivers/io_uring/ring.ts", "../linux_aio/mod.ts"],
  ["drivers/io_uring/ring.ts", "../registry.ts"],
  ["drivers/memory.ts", "../ffi/liburing/mod.ts"],
  ["devices/virtio_blk/mod.ts", "../../drivers/registry.ts"],
  ["devices/virtio/queue.ts", "../virtio_blk/mod.ts"],
  ["mod.ts", "./ffi/loader.ts"],
  ["mod.ts", "./drivers/io_uring/mod.ts"],
  ["mod.ts", "./devices/serve/mod.ts"],
  ["drivers/io_uring/descriptor.ts", "../linux_aio/mod.ts"],
  ["drivers/io_uring/descriptor.ts", "../registry.ts"],
  ["drivers/io_uring/mod.ts", "../linux_aio/descriptor.ts"],
  ["mod.ts", "node:util"],
  ["cli.ts", "./core/plug/plug.ts"],
  ["cli/run.ts", "../drivers/registry.ts"],
  ["examples/log.ts", "../core/plug/plug.ts"],
  ["examples/log.ts", "../drivers/registry.ts"],
  ["examples/log.ts", "@plugio/plugio/core"],
  ["cli/run.ts", "../devices/virtio/mod.ts"],
  ["bench/plug_bench.ts", "../tools/say.ts"],
  ["tools/ok.ts", "../mod.ts"],
  ["cli.ts", "jsr" + ":@std/path"],
  ["tests/core/plug_test.ts", "https://example.invalid/x.ts"],
  ["lib/new_room.ts", "../core/plug/plug.ts"],
  ["core/plug/plug.ts", "../../lib/new_room.ts"],
];

Deno.test("import directions that the table lists are accepted", () => {
  for (const [from, specifier] of ALLOWED) {
    deepStrictEqual(broken(from, importing(specifier)), [], `${from} -> ${specifier}`);
  }
});

Deno.test("import directions that the table does not list are refused", () => {
  for (const [from, specifier] of FORBIDDEN) {
    deepStrictEqual(broken(from, importing(specifier)), ["import-direction"], `${from} -> ${specifier}`);
  }
});

Deno.test("every way to import is seen", () => {
  const ways: ((specifier: string) => string)[] = [
    (s) => `import "${s}";`,
    (s) => `import {\n  a,\n  b,\n} from "${s}";`,
    (s) => `import type { A } from "${s}";`,
    (s) => `export * from "${s}";`,
    (s) => `export { a } from "${s}";`,
    (s) => `export const load = () => import("${s}");`,
    (s) => `export const at = new URL("${s}", import.meta.url);`,
  ];
  for (const way of ways) {
    const source = importing("../../drivers/registry.ts", way);
    deepStrictEqual(broken("core/plug/plug.ts", source), ["import-direction"], source);
  }
  deepStrictEqual(
    broken("core/plug/plug.ts", `// import "../../ffi/x.ts";\nexport const s = 'import "../../ffi/x.ts"';`),
    [],
  );
});

Deno.test("what a descriptor loads when it is asked to is checked as any other import", () => {
  const loading = (specifier: string) => `export const open = async () => (await import("${specifier}")).open();`;
  const from = "drivers/io_uring/descriptor.ts";
  for (const specifier of ["./mod.ts", "../probe/io_uring.ts"]) deepStrictEqual(broken(from, loading(specifier)), []);
  for (const specifier of ["../linux_aio/mod.ts", "../registry.ts", "../../ffi/libaio/mod.ts", "../../cli/main.ts"]) {
    deepStrictEqual(broken(from, loading(specifier)), ["import-direction"], specifier);
  }
});

Deno.test("an import of a computed name is refused outside of tests", () => {
  const source = "export const load = (name: string) => import(name);";
  deepStrictEqual(broken("drivers/registry.ts", source), ["import-direction"]);
  deepStrictEqual(broken("tests/core/copies_test.ts", source), []);
});

Deno.test("mod.ts takes types of shared ffi, and nothing else of it", () => {
  deepStrictEqual(broken("mod.ts", `export type { Memory } from "./ffi/memory.ts";`), []);
  deepStrictEqual(broken("mod.ts", `export { type A, type B } from "./ffi/memory.ts";`), []);
  deepStrictEqual(broken("mod.ts", `export { type A, b } from "./ffi/memory.ts";`), ["import-direction"]);
  deepStrictEqual(broken("mod.ts", `export type { Ring } from "./ffi/liburing/mod.ts";`), ["import-direction"]);
});

Deno.test("core is free of Deno, and pointers stay under ffi", () => {
  deepStrictEqual(broken("core/x.ts", "export const now = () => Deno.build;"), ["ffi-only-in-ffi"]);
  deepStrictEqual(broken("core/x.ts", "export type P = Deno.PointerValue;"), ["ffi-only-in-ffi"]);
  deepStrictEqual(broken("core/x.ts", "// Deno.build\nexport const x = 'Deno';"), []);
  for (const door of ["dlopen", "UnsafePointer", "UnsafePointerView", "UnsafeCallback"]) {
    const source = `export const door: unknown = Deno.${door};`;
    deepStrictEqual(broken("drivers/io_uring/ring.ts", source), ["ffi-only-in-ffi"], door);
    deepStrictEqual(broken("ffi/loader.ts", source), [], door);
  }
});

Deno.test("a file is at most as long as its room allows", () => {
  const lines = (count: number) => "export {};\n".repeat(count);
  deepStrictEqual(broken("core/x.ts", lines(FILE_LINES_MAX)), []);
  deepStrictEqual(broken("core/x.ts", lines(FILE_LINES_MAX + 1)), ["file-length"]);
  deepStrictEqual(broken("tests/core/x_test.ts", lines(TEST_FILE_LINES_MAX)), []);
  deepStrictEqual(broken("tests/core/x_test.ts", lines(TEST_FILE_LINES_MAX + 1)), ["file-length"]);
});

Deno.test("a function is at most as long as the limit, in every shape", () => {
  const body = (count: number) => "  f();\n".repeat(count - 2);
  const shapes: ((count: number) => string)[] = [
    (count) => `export function long() {\n${body(count)}}`,
    (count) => `export const long = () => {\n${body(count)}};`,
    (count) => `export const long = function () {\n${body(count)}};`,
    (count) => `export class C {\n  long() {\n${body(count)}  }\n}`,
  ];
  for (const shape of shapes) {
    deepStrictEqual(broken("core/x.ts", shape(FUNCTION_LINES_MAX)), [], shape(3));
    deepStrictEqual(broken("core/x.ts", shape(FUNCTION_LINES_MAX + 1)), ["function-length"], shape(3));
  }
  const test = `Deno.test("x", () => {\n${body(FUNCTION_LINES_MAX + 1)}});`;
  deepStrictEqual(broken("tests/x_test.ts", test), []);
  deepStrictEqual(broken("tests/x_test.ts", shapes[0]!(FUNCTION_LINES_MAX + 1)), ["function-length"]);
});

Deno.test("a skip without the helper is refused", () => {
  deepStrictEqual(broken("tests/x_test.ts", `Deno.test.ignore("x", () => {});`), ["honest-skip"]);
  deepStrictEqual(broken("tests/x_test.ts", `Deno.test.only("x", () => {});`), ["honest-skip"]);
  deepStrictEqual(broken("tests/x_test.ts", `Deno.test({ name: "x", ignore: true, fn() {} });`), ["honest-skip"]);
  deepStrictEqual(broken("tests/x_test.ts", `Deno.test({ name: "x", fn() {} });`), []);
});

Deno.test("deno lint of a tree with a wrong import fails and names it", async () => {
  using scratch = new Scratch();
  const clean = await scratch.deno(["lint"]);
  strictEqual(clean.code, 0, clean.stderr);
  scratch.write("core/plug/plug.ts", `export { a } from "../../drivers/registry.ts";\n`);
  const { code, stderr } = await scratch.deno(["lint"]);
  ok(code !== 0);
  match(
    stderr,
    /plugio\/import-direction.*Cannot import "\.\.\/\.\.\/drivers\/registry\.ts" from core\/plug\/plug\.ts/,
  );
});
