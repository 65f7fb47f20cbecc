/** The scripts that measure: their help, their options, and what they say of a wrong command line. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { headerComment } from "../../bench/script.ts";
import { TempFolder } from "../cli/support.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const SCRIPTS = [
  "bench/letter.ts",
  "bench/serve_table.ts",
  "bench/blkio_table.ts",
  "bench/tick_table.ts",
  "bench/import_table.ts",
  "tests/guest/letter_table.ts",
  "tests/model/main.ts",
];

async function script(path: string, ...args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P=test", "--no-prompt", join(ROOT, path), ...args],
    cwd: ROOT,
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("the comment at the top of a script is its help", () => {
  assert.equal(
    headerComment("/**\n * One.\n *\n * deno task x [A]\n *\n * @module\n */\n/** No. */"),
    "One.\n\ndeno task x [A]\n",
  );
});

for (const path of SCRIPTS) {
  Deno.test(`${path} has --help, and says in one line what is wrong with an option`, async () => {
    const help = await script(path, "--help");
    assert.deepEqual([help.code, help.stderr], [0, ""]);
    assert.match(help.stdout, /deno task [a-z:]+ /);
    const wrong = await script(path, "--frob");
    assert.deepEqual([wrong.code, wrong.stdout], [2, ""]);
    assert.equal(wrong.stderr, "Cannot use option --frob: it is unknown, wanted one that --help lists\n");
  });
}

Deno.test("wrong values of a script's options are refused in one line", async () => {
  for (
    const [code, line, path, ...args] of [
      [2, /^Cannot measure without a file: wanted --file FILE/, "bench/serve_table.ts"],
      [
        1,
        /^Cannot measure \/nonexistent\/x: it does not exist, wanted/,
        "bench/tick_table.ts",
        "--file=/nonexistent/x",
      ],
      [2, /^Cannot use --rounds x: wanted a whole number/, "bench/serve_table.ts", "--rounds=x", "--file=README.md"],
      [2, /^Cannot use --depths 0: wanted a whole number/, "bench/blkio_table.ts", "--depths=1,0", "--file=README.md"],
      [
        2,
        /^Cannot use --to scsi: wanted io_uring, vhost-user/,
        "bench/blkio_table.ts",
        "--to=scsi",
        "--file=README.md",
      ],
      [2, /^Cannot use option --file: it has no value, wanted one/, "bench/blkio_table.ts", "--file"],
      [2, /^Cannot use README\.md: wanted options only/, "bench/blkio_table.ts", "README.md"],
      [2, /^Cannot use more than one target: a, b, wanted one/, "bench/letter.ts", "a", "b"],
      [1, /^Cannot open \/nonexistent\/x: /, "bench/letter.ts", "/nonexistent/x", "--output=/nonexistent/y"],
      [2, /^Cannot use --minutes "0": wanted a number above 0/, "tests/model/main.ts", "--minutes=0"],
    ] as const
  ) {
    const { stderr, ...rest } = await script(path, ...args);
    assert.match(stderr, line);
    assert.equal(rest.code, code, stderr);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
});

Deno.test("results of the letter's experiment that are whole are left alone, and it says so", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 65_536);
  const kept = join(ROOT, "bench/results/letter");
  const before = [...Deno.readDirSync(kept)].map(({ name }) => [name, Deno.statSync(join(kept, name)).mtime]);
  for (const args of [[], [target], [target, "--docs=docs/letter.md"], [`--output=${kept}`]]) {
    const { code, stdout, stderr } = await script("bench/letter.ts", ...args);
    assert.deepEqual([code, stdout], [1, ""], stderr);
    assert.match(stderr, /^Cannot measure into \S*bench\/results\/letter: .*wanted another --output FOLDER; .*\n$/);
  }
  assert.deepEqual(
    [...Deno.readDirSync(kept)].map(({ name }) => [name, Deno.statSync(join(kept, name)).mtime]),
    before,
  );
});
