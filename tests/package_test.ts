/** What would be published is enough: a copy of just that runs, from a folder and over HTTP as from a registry. */
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { DEV_LOCK } from "../tools/dev_lock.ts";
import { ENTRY_POINTS } from "../tools/lint/rooms.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const decoder = new TextDecoder();

interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function deno(args: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<Finished> {
  const native = join(ROOT, ".native/lib");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    stdin: "null",
    // The libraries that set-up has unpacked lie beside the project, and not beside a copy.
    env: { NO_COLOR: "1", LD_LIBRARY_PATH: native, ...env },
  }).output();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Paths of the files that `deno publish` would send, from the project's root. */
async function publishedFiles(): Promise<string[]> {
  const { code, stderr } = await deno(["publish", DEV_LOCK, "--dry-run", "--allow-dirty", "--no-check"], ROOT);
  assert.equal(code, 0, stderr);
  const urls = [...stderr.matchAll(/^ +(file:\/\/\S+) \(/gm)].map(([, url]) => fileURLToPath(url!));
  return urls.map((path) => relative(ROOT, path)).filter((path) => !path.startsWith("."));
}

const FILES = await publishedFiles();

/** A copy of what would be published, gone on dispose. */
class PackageCopy implements Disposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "plugio-package-" });
  /** A file to measure. */
  readonly data: string = join(this.folder, "data.bin");

  constructor() {
    for (const path of FILES) {
      const to = join(this.folder, "package", path);
      Deno.mkdirSync(dirname(to), { recursive: true });
      Deno.copyFileSync(join(ROOT, path), to);
    }
    Deno.writeFileSync(this.data, new Uint8Array(1 << 20).fill(7));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** Two Workers, each with a queue of its own. */
function load(data: string): string[] {
  return ["randread", data, "--numjobs=2", "--runtime=100ms", "--output-format=json"];
}

/** Fails unless both Workers have read. */
function assertHasRead({ code, stdout, stderr }: Finished): void {
  assert.equal(code, 0, stderr);
  const { jobs } = JSON.parse(stdout) as { jobs: { read: { total_ios: number } }[] };
  assert.ok(jobs.length > 0 && jobs.every(({ read }) => read.total_ios > 0), stdout);
}

/** What the command line needs, as docs/permissions.md has it, without the set of deno.json. */
const PERMISSIONS = ["--allow-read", "--allow-ffi", "--allow-env", "--allow-sys"];

Deno.test("the published files hold every entry point, each module of a Worker, and nothing of the tests", async () => {
  for (const path of Object.values(ENTRY_POINTS)) assert.ok(FILES.includes(path), `${path} is not published`);
  for (const path of FILES.filter((path) => path.endsWith(".ts"))) {
    const text = await Deno.readTextFile(join(ROOT, path));
    for (const [, name] of text.matchAll(/new URL\("([^"]+\.(?:ts|sh))", import\.meta\.url\)/g)) {
      assert.ok(FILES.includes(join(dirname(path), name!)), `${path} starts ${name}, which is not published`);
    }
  }
  assert.deepEqual(FILES.filter((path) => /^(tests|tools|bench|examples)\//.test(path)), []);
});

Deno.test("randread runs from a copy of what would be published, its Workers too", async () => {
  using copy = new PackageCopy();
  const cli = join(copy.folder, "package", "cli.ts");
  const args = ["run", "-q", "--no-prompt", "--no-config", "--no-lock", "--cached-only", ...PERMISSIONS, cli];
  assertHasRead(await deno([...args, ...load(copy.data)], copy.folder));
});

Deno.test("randread runs over HTTP, as from a registry: nothing is read from beside its modules", async () => {
  using copy = new PackageCopy();
  const asked = new Set<string>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const path = new URL(request.url).pathname.slice(1);
    asked.add(path);
    if (!FILES.includes(path)) return new Response(null, { status: 404 });
    const headers = { "content-type": path.endsWith(".ts") ? "application/typescript" : "text/plain" };
    return new Response(await Deno.readFile(join(ROOT, path)), { headers });
  });
  const host = `127.0.0.1:${server.addr.port}`;
  const denoDir = join(copy.folder, "deno");
  Deno.mkdirSync(denoDir);
  const { npmCache } = JSON.parse((await deno(["info", "--json"], copy.folder)).stdout) as { npmCache: string };
  Deno.symlinkSync(npmCache, join(denoDir, "npm"));
  const run = (...args: string[]) => {
    const flags = ["run", "-q", "--no-prompt", "--no-config", "--no-lock", `--allow-import=${host}`, ...PERMISSIONS];
    return deno([...flags, `http://${host}/cli.ts`, ...args], copy.folder, { DENO_DIR: denoDir });
  };
  assertHasRead(await run(...load(copy.data)));
  assert.ok(asked.has("cli/load/worker.ts") && asked.has("drivers/io_uring/mod.ts"));
  assert.deepEqual([...asked].filter((path) => !FILES.includes(path)), []);
  const { code, stderr } = await run("probe");
  assert.deepEqual([code, stderr], [0, ""]);
});
