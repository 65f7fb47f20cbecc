import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Scratch } from "../support/scratch.ts";

type Task = { description?: string; command: string };
const config = JSON.parse(Deno.readTextFileSync(fileURLToPath(new URL("../../deno.json", import.meta.url))));

Deno.test("every task says what it is for", () => {
  const tasks = Object.entries(config.tasks as Record<string, Task>);
  for (
    const name of [
      "randread",
      "randwrite",
      "read",
      "write",
      "randrw",
      "rw",
      "probe",
      "sweep",
      "report",
      "letter",
      "test",
      "ok",
      "bench",
      "fmt",
      "setup",
    ]
  ) {
    ok(tasks.some(([task]) => task === name), `no task ${name}`);
  }
  for (const [name, task] of tasks) ok((task.description ?? "").length > 10, `task ${name} has no description`);
});

Deno.test("no permission set allows everything, and the command line starts only what it compares with", () => {
  for (const [name, set] of Object.entries(config.permissions as Record<string, Record<string, unknown>>)) {
    strictEqual(set["all"], undefined, name);
  }
  const { run, net, import: imports } = config.permissions.default;
  deepStrictEqual([run, net, imports], [["fio", "qemu-img"], undefined, undefined]);
});

Deno.test("a task fetches what the commands use and nothing else: the lock file holds no more, and is not added to", () => {
  const lock = JSON.parse(Deno.readTextFileSync(fileURLToPath(new URL("../../deno.lock", import.meta.url))));
  const wanted = ["commander", "hdr-histogram-js"];
  // Packages of an import map are fetched by every task, and unknown to a command that deno install made.
  strictEqual(config.imports, undefined);
  deepStrictEqual(Object.keys(lock.specifiers).map((name) => name.replace(/^npm:|@[^@]*$/g, "")), wanted);
  // Those two, and what the second is made of.
  strictEqual(Object.keys(lock.npm).length, 5);
  strictEqual(config.lock.frozen, true);
});

Deno.test("a task hands every argument to the command line", async () => {
  using scratch = new Scratch();
  scratch.write("cli.ts", "console.log(JSON.stringify(Deno.args));\n");
  const args = ["disk.img", "--bs", "4k", "--output=a b", "-"];
  for (const name of ["randread", "randwrite", "read", "write", "randrw", "rw", "probe"]) {
    const { code, stdout } = await scratch.deno(["task", "-q", name, ...args]);
    strictEqual(code, 0);
    deepStrictEqual(JSON.parse(stdout), [name, ...args]);
  }
});

Deno.test("a task's standard output is only what the command line writes", async () => {
  using scratch = new Scratch();
  scratch.write("cli.ts", `console.log('{"jobs":[]}');\n`);
  const { stdout, stderr } = await scratch.deno(["task", "randread"]);
  strictEqual(stdout, '{"jobs":[]}\n');
  match(stderr, /^Task randread /);
  ok(!stderr.includes("experimental"), stderr);
});

Deno.test("a variable outside the command line's list reads as absent instead of failing", async () => {
  using scratch = new Scratch();
  scratch.write("cli.ts", `console.log([Deno.env.get("SECRET") ?? "-", Deno.env.get("PLUGIO_X")].join());\n`);
  const { stdout } = await scratch.deno(["task", "-q", "randread"], { SECRET: "1", PLUGIO_X: "2" });
  strictEqual(stdout, "-,2\n");
});
