/** The key-value log in a process that is killed at random moments. The page cache outlives it: no power cut is tried. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { KvLog } from "../../examples/kv_log/mod.ts";
import { Random } from "../../core/base/random.ts";
import { directWorks, loadLibraries, pattern, TempFolder } from "./support.ts";

await loadLibraries();

const WRITER = fileURLToPath(new URL("./processes/kv_log_writer.ts", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ROUNDS = 5;

/** Starts the writer, kills it at a random moment after its first word, and returns the whole lines it said. */
async function killedWriter(args: readonly string[], random: Random): Promise<string[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P", WRITER, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const complaints = new Response(child.stderr).text();
  let said = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    said += text;
    timer ??= setTimeout(() => child.kill("SIGKILL"), random.below(300));
  }
  const { signal } = await child.status;
  clearTimeout(timer);
  assert.equal(signal, "SIGKILL", await complaints);
  await complaints;
  return said.split("\n").slice(0, -1);
}

/** What has to be true of the log by what the writer said. */
async function check(log: KvLog, lines: readonly string[]): Promise<{ alive: number; dead: number }> {
  const set = new Set<string>();
  const deleted = new Set<string>();
  const undecided = new Set<string>();
  const counters = new Map<string, number>();
  for (const line of lines) {
    const word = line.slice(1);
    if (line[0] === "+") set.add(word);
    else if (line[0] === "~") undecided.add(word);
    else if (line[0] === "-") deleted.add(word);
    else counters.set(word.slice(0, word.lastIndexOf(" ")), Number(word.slice(word.lastIndexOf(" "))));
  }
  for (const key of set) {
    const value = await log.get(key);
    if (deleted.has(key)) assert.equal(value, undefined, `${key} came back`);
    if (undecided.has(key)) continue;
    const [, lane, n] = key.split("/").map(Number) as [number, number, number];
    assert.deepEqual(value, pattern(((n * 997) + lane) % 3000, n), key);
  }
  for (const [key, n] of counters) {
    const value = Number(new TextDecoder().decode(await log.get(key)));
    assert.ok(value === n || value === n + 1, `${key} is ${value}, ${n} was acknowledged`);
  }
  return { alive: set.size - undecided.size, dead: deleted.size };
}

const seed = Number(Deno.env.get("PLUGIO_TEST_SEED") ?? Date.now() & 0x7fffffff);

Deno.test(`every acknowledged change survives kill -9 (PLUGIO_TEST_SEED=${seed})`, async (context) => {
  using folder = new TempFolder();
  const random = new Random(seed);
  const direct = await directWorks() === true;
  const path = folder.at("log");
  const said: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const compact = round % 2 === 1;
    // One log through all rounds: what earlier rounds left has to survive later ones.
    await context.step(`round ${round}, direct ${direct}, compacting ${compact}`, async () => {
      said.push(...await killedWriter([path, `${round}`, `${direct}`, `${compact}`], random));
      await using log = await KvLog.open(path, { create: false });
      const { alive, dead } = await check(log, said);
      assert.ok(alive > 0 && dead >= 0);
      assert.deepEqual(folder.names(), ["log"]);
    });
  }
});
