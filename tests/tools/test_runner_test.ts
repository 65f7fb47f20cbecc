import { deepStrictEqual, match, notStrictEqual, strictEqual } from "node:assert/strict";
import { missingFile, readCounts, selection, summaryLine } from "../../tools/run_tests.ts";
import { Scratch } from "../support/scratch.ts";

Deno.test("the summary of deno test is read with steps, colours and skips", () => {
  const zero = { passed: 0, failed: 0, skipped: 0 };
  deepStrictEqual(readCounts("ok | 3 passed | 0 failed (4ms)\n", true), { ...zero, passed: 3 });
  deepStrictEqual(
    readCounts("FAILED | 3 passed (1 step) | 2 failed (1 step) | 4 ignored (321ms)\n", false),
    { passed: 3, failed: 2, skipped: 4 },
  );
  const green = "\x1b[0m\x1b[32mok\x1b[0m | 1 passed | 0 failed | 1 ignored \x1b[0m(4ms)\n";
  deepStrictEqual(readCounts(green, true), { passed: 1, failed: 0, skipped: 1 });
});

Deno.test("a test that prints a summary of its own does not change the counts", () => {
  const output = "ok | 99 passed | 0 failed (1ms)\nFAILED | 1 passed | 1 failed (2ms)\n";
  deepStrictEqual(readCounts(output, false), { passed: 1, failed: 1, skipped: 0 });
});

Deno.test("a run that failed without a failed test counts as one failure", () => {
  strictEqual(readCounts("error: Type checking failed.\n", false).failed, 1);
  strictEqual(readCounts("ok | 3 passed | 0 failed (4ms)\n", false).failed, 1);
});

Deno.test("the last line names skips only where there are any", () => {
  strictEqual(summaryLine({ passed: 2, failed: 0, skipped: 0 }), "2 passed, 0 failed");
  strictEqual(summaryLine({ passed: 2, failed: 1, skipped: 3 }), "2 passed, 1 failed, 3 skipped");
});

/** Runs tools/run_tests.ts on a scratch project with these files; the last line and the code. */
async function runTests(files: Record<string, string>, args: string[] = [], env: Record<string, string> = {}) {
  using scratch = new Scratch();
  for (const [path, text] of Object.entries(files)) scratch.write(path, text);
  const { code, stdout } = await scratch.deno(["run", "-q", "-P=tools", "tools/run_tests.ts", ...args], env);
  return { code, lastLine: stdout.trimEnd().split("\n").at(-1), stdout };
}

const PASS = `Deno.test("passes", () => {});\n`;
const FAIL = `Deno.test("fails", () => {\n  throw new Error("no");\n});\n`;
const LEAK = `Deno.test("leaks", () => {\n  setTimeout(() => {}, 1000);\n});\n`;
const SKIP = `import { testWhen } from "./support/skip.ts";\ntestWhen("no such disk", "skips", () => {});\n`;
const BROKEN = `export const wrong: number = "text";\n`;

Deno.test("the runner ends with the counts and the exit code of the run", async () => {
  const good = await runTests({ "tests/a_test.ts": PASS, "tests/b_test.ts": PASS });
  deepStrictEqual([good.code, good.lastLine], [0, "2 passed, 0 failed"]);
  const bad = await runTests({ "tests/a_test.ts": PASS, "tests/b_test.ts": FAIL });
  notStrictEqual(bad.code, 0);
  strictEqual(bad.lastLine, "1 passed, 1 failed");
});

Deno.test("the runner takes a file", async () => {
  const one = await runTests({ "tests/a_test.ts": PASS, "tests/b_test.ts": FAIL }, ["tests/a_test.ts"]);
  deepStrictEqual([one.code, one.lastLine], [0, "1 passed, 0 failed"]);
});

Deno.test("tests that boot guests run when they are asked for, by the task or by name, and not with the others", async () => {
  const files = {
    "tests/a_test.ts": PASS,
    "tests/guest/guest_test.ts": PASS + FAIL,
    "tests/b/serve_guest_test.ts": FAIL,
    "tests/guest/parts_test.ts": PASS,
  };
  strictEqual((await runTests(files)).lastLine, "2 passed, 0 failed");
  strictEqual((await runTests(files, ["--guests"])).lastLine, "1 passed, 2 failed");
});

Deno.test("a caller that names files gets these, guests or not, with any options", () => {
  const boots = "tests/guest/guest_test.ts";
  deepStrictEqual(selection([boots]), [boots]);
  deepStrictEqual(selection(["--filter", "disk", "tests/guest", "--"]), ["--filter", "disk", "tests/guest", "--"]);
  deepStrictEqual(selection(["--filter", "disk"]), ["--ignore=**/*guest_test.ts", "--filter", "disk"]);
  deepStrictEqual(selection(["--guests", "--filter", "disk"]), ["--filter", "disk", "**/*guest_test.ts"]);
});

Deno.test("a file that does not exist is one line and no run", async () => {
  using scratch = new Scratch();
  scratch.write("tests/a_test.ts", PASS);
  const { code, stdout, stderr } = await scratch.deno([
    "run",
    "-q",
    "-P=tools",
    "tools/run_tests.ts",
    "tests/b_test.ts",
  ]);
  deepStrictEqual([code, stdout], [2, ""]);
  strictEqual(stderr, "Cannot test tests/b_test.ts: it does not exist, wanted a file or folder of tests\n");
  strictEqual(missingFile(["--filter", "a b", "tests/*.ts", "-A"], () => false), undefined);
});

Deno.test("a leaked timer fails its test", async () => {
  const { code, lastLine, stdout } = await runTests({ "tests/a_test.ts": LEAK });
  notStrictEqual(code, 0);
  strictEqual(lastLine, "0 passed, 1 failed");
  match(stdout, /Leaks detected/);
});

Deno.test("a type error is a failure of the run", async () => {
  const { code, lastLine } = await runTests({ "tests/a_test.ts": PASS + BROKEN });
  notStrictEqual(code, 0);
  strictEqual(lastLine, "0 passed, 1 failed");
});

Deno.test("an example in a docstring runs", async () => {
  const text = '/**\n * ```ts\n * throw new Error("example");\n * ```\n */\nexport const a = 1;\n';
  const { lastLine } = await runTests({ "core/a.ts": text });
  strictEqual(lastLine, "0 passed, 1 failed");
});

Deno.test("a skip is counted, and is a failure in CI", async () => {
  const here = await runTests({ "tests/a_test.ts": PASS + SKIP });
  deepStrictEqual([here.code, here.lastLine], [0, "1 passed, 0 failed, 1 skipped"]);
  const inCi = await runTests({ "tests/a_test.ts": PASS + SKIP }, [], { CI: "true" });
  notStrictEqual(inCi.code, 0);
  strictEqual(inCi.lastLine, "1 passed, 1 failed");
});
