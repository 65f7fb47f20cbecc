/**
 * The documentation against the code: what can be compared is, so that it cannot rot.
 *
 * @module
 */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ExitCode } from "../../cli/exit_codes.ts";
import { DEVICE_BATCH_MODES } from "../../core/plug/batching.ts";
import { WAIT_MODES } from "../../core/base/block.ts";
import { Errno } from "../../core/base/errno.ts";
import { setupRemedy } from "../../drivers/io_uring/explain.ts";
import { setupRemedy as aioSetupRemedy } from "../../drivers/linux_aio/explain.ts";
import { MAX_BATCH } from "../../drivers/linux_aio/options.ts";
import { URING_CONSTANTS } from "../../ffi/liburing/mod.ts";
import { DRIVER_NAMES, openDevice, TRACE_PREFIX } from "../../mod.ts";
import { NEEDS } from "../../tools/setup/needs.ts";
import { CORE_FOR_ALL, ENTRY_POINTS } from "../../tools/lint/rooms.ts";
import { testWhen } from "../support/skip.ts";
import { anchors, type CodeBlock, codeBlocks, codeWords, links, section, tableRows, withoutCode } from "./markdown.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGES = ["README.md", "CHANGELOG.md", ...files("docs", /\.md$/), ...files("bench/results", /\.md$/)];

function toFileUrl(path: string): string {
  return new URL(`../../${path}`, import.meta.url).href;
}

function read(path: string): string {
  return Deno.readTextFileSync(join(ROOT, path));
}

/** Files below a folder of the project, by name. */
function files(folder: string, name: RegExp): string[] {
  return [...Deno.readDirSync(join(ROOT, folder))].flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory ? files(path, name) : name.test(entry.name) ? [path] : [];
  }).sort();
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Lines of prose: neither empty, nor code, table or heading. */
function proseLines(text: string): number {
  return withoutCode(text).split("\n").filter((line) => /\S/.test(line) && !/^\s*(\||#)/.test(line)).length;
}

Deno.test("the README has at most 180 lines, and a page at most 120 of prose", () => {
  const count = read("README.md").trimEnd().split("\n").length;
  assert.ok(count <= 180, `the README has ${count} lines`);
  for (const page of files("docs", /\.md$/)) {
    const prose = proseLines(read(page));
    assert.ok(prose <= 120, `${page} has ${prose} lines of prose`);
  }
});

/** Runs this Deno and returns its output; a failure is an error with all of it. */
async function deno(args: readonly string[], cwd: string): Promise<string> {
  const native = join(ROOT, ".native/lib");
  const path = Deno.env.get("LD_LIBRARY_PATH");
  const env = { NO_COLOR: "1", LD_LIBRARY_PATH: path ? `${native}:${path}` : native };
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout);
  assert.ok(success, `deno ${args.join(" ")} failed:\n${text}${decoder.decode(stderr)}`);
  return text;
}

Deno.test("every relative link of the documentation leads to a file, and to a heading where it names one", () => {
  for (const page of PAGES) {
    for (const link of links(read(page))) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : join(dirname(page), path);
      assert.ok(isThere(join(ROOT, target)), `${page} links to ${link}, which is not there`);
      if (anchor === undefined) continue;
      assert.ok(anchors(read(target)).includes(anchor), `${page} links to ${link}, which has no such heading`);
    }
  }
});

Deno.test("every page of docs/ is linked from the README", () => {
  const linked = links(read("README.md"));
  for (const page of files("docs", /\.md$/)) assert.ok(linked.includes(page), `${page} is not linked`);
});

Deno.test("every task that the documentation names exists, and HACKING.md names every task", () => {
  const { tasks } = JSON.parse(read("deno.json")) as { tasks: Record<string, unknown> };
  const named = (page: string) =>
    [...read(page).matchAll(/deno task (?:-q )?([a-z]+(?::[a-z]+)?)/g)].map(([, name]) => name!).filter((name) =>
      name !== "x"
    );
  for (const page of PAGES) {
    for (const name of named(page)) assert.ok(name in tasks, `${page} names the task ${name}, which does not exist`);
  }
  const known = named("docs/HACKING.md");
  for (const name of Object.keys(tasks)) assert.ok(known.includes(name), `docs/HACKING.md lacks the task ${name}`);
});

/** Blocks that users are meant to copy: all of the README, and those of other pages that say `run`. */
function examples(): { name: string; block: CodeBlock }[] {
  return PAGES.flatMap((page) =>
    codeBlocks(read(page))
      .filter(({ info }) => info[0] === "ts" && (page === "README.md" || info.includes("run")))
      .map((block) => ({ name: `${page.replaceAll(/[/.]/g, "_")}_${block.line}.ts`, block }))
  );
}

Deno.test("the examples of the documentation type-check, and run with --allow-ffi alone", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "plugio-docs-" });
  try {
    const imports = Object.fromEntries(
      Object.entries(ENTRY_POINTS).map(([name, path]) => [`@plugio/plugio${name}`, toFileUrl(path)]),
    );
    const compilerOptions = { noUncheckedIndexedAccess: true };
    Deno.writeTextFileSync(join(folder, "deno.json"), JSON.stringify({ imports, compilerOptions }));
    const names = examples().map(({ name, block }) => {
      Deno.writeTextFileSync(join(folder, name), block.code);
      return name;
    });
    assert.ok(names.length >= 9, "the examples were not found");
    await deno(["check", "-q", ...names], folder);
    for (const { info, code } of codeBlocks(read("README.md"))) {
      if (info[0] !== "sh" || !info.includes("run")) continue;
      const { success } = await new Deno.Command("sh", { args: ["-ec", code], cwd: folder }).output();
      assert.ok(success, `a command of the README fails: ${code}`);
    }
    for (const { name, block } of examples()) {
      if (!block.info.includes("run")) continue;
      const output = await deno(["run", "-q", "--no-prompt", "--allow-ffi", name], folder);
      checkComments(block, output);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

/** `console.log(…); // open ENOENT`: the comment is what the line prints, where it is words that can be compared. */
function checkComments({ code }: CodeBlock, output: string): void {
  for (const [, comment] of code.matchAll(/console\.log\(.*\); \/\/ (.+)$/gm)) {
    if (/^offsets/.test(comment!)) continue;
    assert.ok(output.includes(comment!), `an example says that it prints ${comment}, but it prints ${output}`);
  }
}

Deno.test("the line of docs/install.md for an installed command makes one that runs", async () => {
  const line = codeBlocks(read("docs/install.md")).flatMap(({ code }) => code.split("\n")).find((text) =>
    text.startsWith("deno install ")
  );
  const root = Deno.makeTempDirSync({ prefix: "plugio-install-" });
  try {
    const env = { DENO_INSTALL_ROOT: root, NO_COLOR: "1", PATH: `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}` };
    Deno.writeFileSync(join(root, "data.bin"), new Uint8Array(65536));
    const run = (command: string, cwd: string) => new Deno.Command("sh", { args: ["-c", command], cwd, env }).output();
    const installed = await run(line!, ROOT);
    assert.ok(installed.success, new TextDecoder().decode(installed.stderr));
    const { success, stdout } = await run("bin/plugio randread data.bin --runtime=100ms </dev/null", root);
    assert.ok(success && new TextDecoder().decode(stdout).includes("read: "));
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
});

/** Long options in a subcommand's --help. */
async function helpOptions(...subcommand: readonly string[]): Promise<string[]> {
  const help = await deno(["run", "-q", "-P", "cli.ts", ...subcommand, "--help"], ROOT);
  return [...help.matchAll(/^ +(?:-\w, )?--([a-z-]+)/gm)].map(([, name]) => name!);
}

/** Long options in the first column of the tables of a page's sections. */
function tableOptions(page: string, ...headings: readonly string[]): string[] {
  const rows = headings.flatMap((heading) => tableRows(section(read(page), heading)));
  return rows.flatMap(([first]) => [...first!.matchAll(/`--([a-z-]+)/g)].map(([, name]) => name!));
}

Deno.test("the tables of options are those of --help", async () => {
  const load = new Set<string>();
  for (const mode of ["randread", "read", "randwrite", "write", "randrw", "rw"]) {
    for (const option of await helpOptions(mode)) load.add(option);
  }
  assert.deepEqual(tableOptions("docs/load.md", "## Options").sort(), [...load].sort());
  assert.deepEqual(tableOptions("docs/load.md", "## Job files").sort(), (await helpOptions("run")).sort());
  assert.deepEqual(tableOptions("docs/targets.md", "## Options").sort(), (await helpOptions("target")).sort());
  const serve = await helpOptions("serve", "vhost-user-blk");
  assert.deepEqual(tableOptions("docs/serve.md", "## Options").sort(), serve.sort());
  const adapter = await helpOptions("serve", "vhost-user-scsi");
  assert.deepEqual(tableOptions("docs/scsi.md", "## Options").sort(), adapter.sort());
  const sweep = [...await helpOptions("sweep"), ...await helpOptions("report")];
  assert.deepEqual(tableOptions("docs/sweep.md", "## Sweep", "## Report").sort(), sweep.sort());
  assert.deepEqual(tableOptions("docs/cli.md", "## Probe").sort(), (await helpOptions("probe")).sort());
});

Deno.test("the README has a row for each driver, and docs/cli.md a word for each subcommand", async () => {
  const words = tableRows(read("README.md")).flatMap(([first]) => codeWords(first!));
  for (const name of DRIVER_NAMES) assert.ok(words.includes(name), `the table lacks ${name}`);
  const subcommands = tableRows(read("docs/cli.md")).flatMap(([first]) => codeWords(first!)).map((word) =>
    word.split(" ")[0]
  );
  const help = await deno(["run", "-q", "-P", "cli.ts", "--help"], ROOT);
  const listed = [...help.slice(help.indexOf("Commands:")).matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!);
  assert.ok(listed.length > 9, help);
  for (const name of listed) assert.ok(subcommands.includes(name), `the table lacks ${name}`);
});

Deno.test("the exit codes of docs/cli.md are those of the command line", () => {
  const rows = tableRows(section(read("docs/cli.md"), "## Exit codes"));
  const codes = rows.map(([code]) => Number(code)).filter((code) => !Number.isNaN(code));
  assert.deepEqual(codes, Object.values(ExitCode));
});

Deno.test("the conformance cases of docs/plug.md are tests of these names", () => {
  const names = files("tests/core", /_test\.ts$/).flatMap((path) =>
    [...read(path).matchAll(/Deno\.test\((["`])(P\d+: .*?)\1/g)].map(([, , name]) => name!.replace(/\$\{\w+\}/g, "…"))
  );
  const rows = tableRows(section(read("docs/plug.md"), "## Tests")).filter(([number]) => /^P\d+$/.test(number!));
  assert.equal(rows.length, 20);
  assert.deepEqual(rows.map(([number, name]) => `${number}: ${name}`).sort(), names.sort());
});

Deno.test("docs/plug.md has a row for each batching mode", () => {
  const rows = tableRows(section(read("docs/plug.md"), "## Batching modes"));
  assert.deepEqual(rows.flatMap(([first]) => codeWords(first!)), DEVICE_BATCH_MODES);
});

Deno.test("docs/io_uring.md has a row for each option of openDevice", () => {
  const fieldsOf = (path: string, name: string) => {
    const [, body = ""] = new RegExp(`export interface ${name}\\s[^]*?\\{([^]*?)\n\\}`).exec(read(path)) ?? [];
    return [...body.matchAll(/readonly (\w+)\?:/g)].map(([, field]) => field!);
  };
  const fields = [
    ...fieldsOf("drivers/registry.ts", "DeviceOptions"),
    ...fieldsOf("core/base/block.ts", "FileOptions"),
    ...fieldsOf("core/device/backend.ts", "OpenOptions"),
    ...fieldsOf("drivers/registry.ts", "CommonOptions").filter((name) => name !== "batch"),
    ...fieldsOf("drivers/io_uring/options.ts", "IoUringOptions"),
    ...fieldsOf("core/queue/wait_options.ts", "WaitOptions"),
  ];
  const rows = tableRows(section(read("docs/io_uring.md"), "## Options"));
  assert.deepEqual(rows.map(([first]) => codeWords(first!)[0]).filter((word) => word !== undefined), fields);
});

Deno.test("docs/io_uring.md explains each set-up failure in the words of the code", () => {
  const text = section(read("docs/io_uring.md"), "## Troubleshooting");
  for (const errno of [Errno.EPERM, Errno.ENOSYS, Errno.EACCES, Errno.ENOMEM, Errno.EMFILE]) {
    const [cause = ""] = setupRemedy(errno).split(/;|, or/);
    assert.ok(text.includes(cause), `Troubleshooting lacks ${JSON.stringify(cause)}`);
  }
});

Deno.test("docs/linux_aio.md explains each set-up failure and the limit of a batch in the words of the code", () => {
  const text = read("docs/linux_aio.md");
  for (const errno of [Errno.EAGAIN, Errno.EPERM, Errno.ENOSYS, Errno.ENOMEM]) {
    const remedy = aioSetupRemedy(errno, 1, { used: 1, max: 1 });
    const [cause = ""] = remedy.replace(/^\d+ /, "").split(/:|;|, or/);
    assert.ok(section(text, "## Troubleshooting").includes(cause), `Troubleshooting lacks ${JSON.stringify(cause)}`);
  }
  const row = tableRows(section(text, "## Options")).find(([first]) => first === "`maxBatch`");
  assert.deepEqual(codeWords(row?.[1] ?? ""), [String(MAX_BATCH)]);
});

Deno.test("docs/HACKING.md has a row for each variable that the code reads, and no other", () => {
  const rows = tableRows(section(read("docs/HACKING.md"), "## Environment variables"));
  const described = rows.flatMap(([first]) => codeWords(first!)).filter((word) => word.startsWith("PLUGIO_"));
  const sources = ["core", "ffi", "drivers", "cli", "tools", "bench"].flatMap((folder) => files(folder, /\.ts$/));
  const used = sources.flatMap((path) => [...read(path).matchAll(/"(PLUGIO_[A-Z_]+)"/g)].map(([, name]) => name!));
  assert.deepEqual(described.sort(), [...new Set(used)].sort());
});

Deno.test("docs/HACKING.md names the packages of set-up", () => {
  const text = section(read("docs/HACKING.md"), "## What set-up does");
  for (const { packages } of NEEDS) {
    for (const names of Object.values(packages).filter(({ length }) => length > 0)) {
      assert.ok(codeWords(text).includes(names.join(" ")), `the table lacks ${names.join(" ")}`);
    }
  }
});

Deno.test("docs/ARCHITECTURE.md names the part of core/ that ffi/ may import", () => {
  assert.ok(read("docs/ARCHITECTURE.md").includes(`\`core/${CORE_FOR_ALL}/\``));
});

Deno.test("docs/permissions.md has each permission set of deno.json", () => {
  const { permissions } = JSON.parse(read("deno.json")) as { permissions: Record<string, unknown> };
  const words = codeWords(read("docs/permissions.md"));
  for (const name of Object.keys(permissions)) {
    assert.ok(words.includes(name === "default" ? "-P" : `-P=${name}`), `the page lacks the set ${name}`);
  }
});

/** IORING_SETUP flags of a fresh ring for `wait`, as docs/io_uring.md writes them. */
async function setupFlags(wait: (typeof WAIT_MODES)[number]): Promise<string[]> {
  const seen: { setupFlags: number }[] = [];
  const listen = (message: unknown) => void seen.push(message as { setupFlags: number });
  subscribe(TRACE_PREFIX + "luring_init_state", listen);
  try {
    // A depth that no other test uses: the ring is new.
    await using _device = await openDevice(join(ROOT, "README.md"), { readOnly: true, wait, queueDepth: 77 });
  } finally {
    unsubscribe(TRACE_PREFIX + "luring_init_state", listen);
  }
  const flags = seen[0]!.setupFlags;
  return Object.entries(URING_CONSTANTS).flatMap(([name, { value }]) =>
    name.startsWith("IORING_SETUP_") && (flags & value) !== 0 ? [name.slice("IORING_SETUP_".length)] : []
  );
}

const [major = 0, minor = 0] = Deno.osRelease().split(".").map(Number);
const knowsAllFlags = major > 6 || (major === 6 && minor >= 1) || `Linux ${major}.${minor} has no DEFER_TASKRUN`;

testWhen(knowsAllFlags, "docs/io_uring.md has the set-up flags of each way of waiting", async () => {
  const rows = tableRows(section(read("docs/io_uring.md"), "## What it does"));
  for (const wait of WAIT_MODES) {
    const [, flags = ""] = rows.find(([first]) => first === `\`${wait}\``) ?? [];
    assert.deepEqual(codeWords(flags).sort(), (await setupFlags(wait)).sort(), wait);
  }
});

Deno.test("docs/ARCHITECTURE.md names every folder of drivers/, devices/ and ffi/, and no room that is not there", () => {
  const house = section(read("docs/ARCHITECTURE.md"), "## The house");
  // A room's row goes on in indented lines.
  const rows = [...house.matchAll(/^([a-z]+)\/ .*\n(?: .*\n)*/gm)].map(([row, room]) => ({ row, room: room! }));
  assert.ok(rows.length > 5, "the rooms were not found");
  for (const { room } of rows) assert.ok(isThere(join(ROOT, room)), `${room}/ is not there`);
  for (const { row, room } of rows.filter(({ room }) => ["drivers", "devices", "ffi"].includes(room))) {
    const folders = [...Deno.readDirSync(join(ROOT, room))].filter((entry) => entry.isDirectory);
    for (const { name } of folders) assert.ok(row.includes(`${name}/`), `the row of ${room}/ lacks ${name}/`);
  }
});
