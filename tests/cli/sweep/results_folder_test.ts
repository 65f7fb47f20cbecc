/** The results folder: going on, and what it refuses without losing or adding anything. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Manifest, MANIFEST_NAME, RAW_FOLDER, rawName } from "../../../cli/report/manifest.ts";
import { packRuns, readRuns } from "../../../cli/report/raw_results.ts";
import { ResultsFolder } from "../../../cli/sweep/results_folder.ts";
import { TempFolder } from "../support.ts";
import { manifestOf, plannedPoint, rawResult, writeFolder } from "./fixtures.ts";

const POINTS = [plannedPoint({ batch: "none", iodepth: "1" }), plannedPoint({ batch: "plug", iodepth: "1" })];
const [FIRST, SECOND] = POINTS.map(({ id }) => id) as [string, string];

function manifest(rounds = 2): Manifest {
  return manifestOf(POINTS, "none", rounds);
}

/** A folder with the first round of a sweep of two. */
function halfDone(): { temp: TempFolder; path: string } {
  const temp = new TempFolder();
  const path = join(temp.path, "sweep");
  writeFolder(path, manifest(), (_, round) => round === 1 ? 1000 : null);
  return { temp, path };
}

function raw(path: string, id: string, round: number): string {
  return join(path, RAW_FOLDER, rawName(id, round));
}

Deno.test("a new folder gets its manifest at once, and results one by one", () => {
  using temp = new TempFolder();
  const path = join(temp.path, "a");
  assert.throws(() => ResultsFolder.open(join(path, "b"), manifest()), /a does not exist, wanted a folder in one that/);
  using folder = ResultsFolder.open(path, manifest());
  assert.equal(JSON.parse(Deno.readTextFileSync(join(path, MANIFEST_NAME))).version, 1);
  assert.equal(folder.has(FIRST, 1), false);
  folder.store(FIRST, 1, rawResult(5));
  assert.equal(folder.has(FIRST, 1), true);
  assert.deepEqual(readRuns(path, manifest()).runs.map(({ id, round }) => [id, round]), [[FIRST, 1]]);
});

Deno.test("a sweep goes on with what is there, also with more rounds than before", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  using folder = ResultsFolder.open(path, manifest(7));
  assert.deepEqual([folder.has(FIRST, 1), folder.has(SECOND, 1), folder.has(FIRST, 2)], [true, true, false]);
  assert.equal(JSON.parse(Deno.readTextFileSync(join(path, MANIFEST_NAME))).plan.rounds, 7);
});

Deno.test("a result that is half written is put aside and measured again", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  Deno.writeTextFileSync(raw(path, FIRST, 1), '{"jobs":[{"read":{"io');
  using folder = ResultsFolder.open(path, manifest());
  assert.deepEqual(folder.broken, [rawName(FIRST, 1)]);
  assert.equal(folder.has(FIRST, 1), false);
  assert.equal(Deno.readTextFileSync(`${raw(path, FIRST, 1)}.broken`), '{"jobs":[{"read":{"io');
});

Deno.test("a leftover of a write that was cut off does not count", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  Deno.writeTextFileSync(`${raw(path, FIRST, 2)}.1234.part`, "{");
  using folder = ResultsFolder.open(path, manifest());
  assert.equal(folder.has(FIRST, 2), false);
  assert.deepEqual(folder.broken, []);
});

Deno.test("two sweeps do not write to one folder at the same time, and the next one may", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  const first = ResultsFolder.open(path, manifest());
  assert.throws(() => ResultsFolder.open(path, manifest()), /another sweep is writing there/);
  first[Symbol.dispose]();
  ResultsFolder.open(path, manifest())[Symbol.dispose]();
});

Deno.test("a folder whose lock cannot be opened is refused in one line that names it", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  // Root may open every file, but no user a folder for writing.
  Deno.mkdirSync(join(path, ".lock"));
  assert.throws(
    () => ResultsFolder.open(path, manifest()),
    (error: Error) =>
      error.name === "CliError" && /^Cannot sweep into .*sweep: .*, wanted a folder/.test(error.message),
  );
});

/** Opens what must be refused, and sees that nothing has changed. */
function refused(path: string, wanted: Manifest, message: RegExp): void {
  const before = listing(path);
  assert.throws(() => ResultsFolder.open(path, wanted), message);
  assert.deepEqual(listing(path), before);
}

function listing(path: string): string[] {
  return [...Deno.readDirSync(path)].flatMap(({ name, isDirectory }) =>
    isDirectory ? listing(join(path, name)) : [join(path, name), Deno.readTextFileSync(join(path, name))]
  ).sort();
}

Deno.test("another plan, another machine and fewer points are refused, each by name", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  const { plan, context } = manifest();
  const with_ = (part: Partial<Manifest>) => ({ ...manifest(), ...part });
  refused(path, with_({ plan: { ...plan, runtimeMs: 5 } }), /its runtimeMs is 1000 and not 5, wanted the same command/);
  refused(path, with_({ plan: { ...plan, seed: 2 } }), /its seed is 1 and not 2/);
  refused(
    path,
    with_({ plan: { ...plan, points: POINTS.slice(1) } }),
    /: it has plugio-none-1, which this command line lacks, wanted the same/,
  );
  const [other, third] = ["8", "32"].map((iodepth) => plannedPoint({ batch: "none", iodepth }));
  refused(
    path,
    with_({ plan: { ...plan, points: [other!, third!, POINTS[1]!] } }),
    /: it lacks plugio-none-8 and 1 other point, and it has plugio-none-1, which this command line lacks, wanted/,
  );
  refused(path, with_({ context: { ...context, kernel: "other" } }), /its kernel is "none" and not "other"/);
});

Deno.test("a folder of something else, of another version, or with a manifest cut off is refused and left alone", () => {
  using temp = new TempFolder();
  const path = temp.path;
  temp.file("thesis.txt", 10);
  refused(path, manifest(), /it holds thesis\.txt and no manifest\.json/);
  Deno.removeSync(join(path, "thesis.txt"));
  const write = (text: string) => Deno.writeTextFileSync(join(path, MANIFEST_NAME), text);
  write(JSON.stringify({ ...manifest(), version: 2 }));
  refused(path, manifest(), /manifest\.json: it has version 2, wanted version 1/);
  write(JSON.stringify(manifest()).slice(0, 100));
  refused(path, manifest(), /it is not the manifest of a sweep/);
  write(JSON.stringify({ format: "plugio-sweep", version: 1 }));
  refused(path, manifest(), /context is missing or of another kind/);
  write(JSON.stringify({ ...manifest(), plan: { ...manifest().plan, points: [{}] } }));
  refused(path, manifest(), /plan\.points is missing or of another kind/);
});

Deno.test("a packed folder has the same results in one file, and is finished", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  const before = readRuns(path, manifest());
  packRuns(path);
  const after = readRuns(path, manifest());
  assert.deepEqual(after.runs.map(({ figures }) => figures), before.runs.map(({ figures }) => figures));
  assert.deepEqual([...new Set(after.runs.map(({ link }) => link))], ["raw.jsonl.gz"]);
  refused(path, manifest(), /it is finished and packed/);
});

Deno.test("a result that cannot be read is a fault with a name, and the others are there", () => {
  const { temp, path } = halfDone();
  using _temp = temp;
  Deno.writeTextFileSync(raw(path, FIRST, 1), "{}");
  const { runs, faults } = readRuns(path, manifest());
  assert.deepEqual(runs.map(({ id }) => id), [SECOND]);
  assert.equal(faults.length, 1);
  assert.match(faults[0]!, /Cannot read result .*plugio-none-1\.r1\.json: it is not in fio's layout/);
});
