/** Tables of a sweep: the letter's column from the letter's figures, spreads, shares, two sweeps side by side. */
import assert from "node:assert/strict";
import { buildDataset, type Dataset } from "../../../cli/report/dataset.ts";
import type { PlannedPoint } from "../../../cli/report/manifest.ts";
import { readRun } from "../../../cli/report/run_figures.ts";
import { describeDifference, formatChange, spreadOf } from "../../../cli/report/statistics.ts";
import { comparisonTables, sweepTables, tableMarkdown, tableText } from "../../../cli/report/tables.ts";
import { manifestOf, plannedPoint, rawResult } from "../sweep/fixtures.ts";
import { LETTER_ROWS } from "../../../bench/letter_figures.ts";

/** A dataset of made-up points, each with the IOPS of its rounds. */
function dataset(points: readonly (readonly [PlannedPoint, readonly number[]])[], baseline: string | null): Dataset {
  const rounds = Math.max(...points.map(([, iops]) => iops.length));
  const runs = points.flatMap(([{ id }, all]) =>
    all.map((iops, at) => ({ id, round: at + 1, link: "", figures: readRun(rawResult(iops), id) }))
  );
  return buildDataset(manifestOf(points.map(([point]) => point), baseline, rounds), runs, []);
}

function columnOf(table: { columns: readonly { name: string }[]; rows: readonly (readonly string[])[] }, name: string) {
  const at = table.columns.findIndex((column) => column.name === name);
  assert.ok(at >= 0, `no column ${name}`);
  return table.rows.map((row) => row[at]!);
}

Deno.test("the letter's figures give the letter's own column", () => {
  const points = LETTER_ROWS.flatMap(({ depth, device, plug }) => {
    const iodepth = String(depth);
    return [
      [plannedPoint({ batch: "device", iodepth }), [device]],
      [plannedPoint({ batch: "plug", iodepth }), [plug]],
    ] as const;
  });
  const [device, plug] = sweepTables(dataset(points, "device"));
  assert.equal(device!.title, "device, the baseline");
  assert.deepEqual(plug!.columns.slice(0, 3).map(({ name }) => name), ["iodepth", "iops", "change vs device"]);
  assert.deepEqual(
    plug!.rows.map((row) => row.slice(0, 3)),
    LETTER_ROWS.map(({ depth, plug, change }) => [String(depth), String(plug), change]),
  );
});

Deno.test("a change is truncated toward zero and always has a sign", () => {
  for (
    const [value, change] of [[999, "+0%"], [991, "+0%"], [990, "-1%"], [1000, "+0%"], [1019, "+1%"], [
      0,
      "-100%",
    ]] as const
  ) {
    assert.equal(formatChange(value, 1000), change, `${value}`);
  }
});

Deno.test("IOPS are truncated to whole ones, and changes come from what was before that", () => {
  const points = [["a", 100.9], ["b", 101.95]] as const;
  const [, table] = sweepTables(
    dataset(points.map(([batch, iops]) => [plannedPoint({ batch, iodepth: "1" } as never), [iops]]), "a"),
  );
  assert.deepEqual(table!.rows[0]!.slice(0, 3), ["1", "101", "+1%"]);
});

Deno.test("the spread is median, smallest and largest, of odd and even numbers of rounds", () => {
  assert.deepEqual(spreadOf([5, 1, 9]), { median: 5, min: 1, max: 9, count: 3 });
  assert.deepEqual(spreadOf([4, 1, 2, 9]), { median: 3, min: 1, max: 9, count: 4 });
});

Deno.test("a difference is one only where no round of one lies among the rounds of the other", () => {
  const base = spreadOf([10, 11, 12]);
  assert.equal(describeDifference(spreadOf([12, 15, 16]), base), "rounds overlap: may be chance");
  assert.equal(describeDifference(spreadOf([1, 20]), base), "rounds overlap: may be chance");
  assert.equal(describeDifference(spreadOf([13, 15]), base), "faster in every round");
  assert.equal(describeDifference(spreadOf([1, 9]), base), "slower in every round");
  assert.equal(describeDifference(spreadOf([1]), base), "one round tells no spread");
});

Deno.test("a panel for each driver, and a comparison in the panels that it belongs to with plugio's share", () => {
  const iodepth = "8";
  const points = [
    [plannedPoint({ driver: "io_uring", batch: "device", iodepth }), [100, 110]],
    [plannedPoint({ driver: "io_uring", batch: "plug", iodepth }), [150, 151]],
    [plannedPoint({ driver: "linux_aio", batch: "device", iodepth }), [50, 50]],
    [plannedPoint({ driver: "linux_aio", batch: "plug", iodepth }), [60, 60]],
    [plannedPoint({ driver: "io_uring", iodepth }, "fio"), [200, 200]],
    [plannedPoint({ iodepth }, "node-fs"), [10, 10]],
  ] as const;
  const result = dataset(points, "device");
  assert.deepEqual(result.panels.map(({ title }) => title), ["io_uring", "linux_aio"]);
  assert.deepEqual(result.panels.map(({ series }) => series.map(({ label }) => label)), [
    ["device", "plug", "fio", "node-fs"],
    ["device", "plug", "node-fs"],
  ]);
  const tables = sweepTables(result);
  const plug = tables.find(({ title }) => title === "io_uring: plug")!;
  assert.deepEqual(columnOf(plug, "of fio"), ["0.75 ×"]);
  assert.deepEqual(columnOf(plug, "of node-fs"), ["15.05 ×"]);
  assert.deepEqual(columnOf(plug, "difference"), ["faster in every round"]);
});

Deno.test("a series with missing points leaves them out, and one without any has no table", () => {
  const points = [
    [plannedPoint({ batch: "device", iodepth: "1" }), [100]],
    [plannedPoint({ batch: "device", iodepth: "2" }), []],
    [plannedPoint({ batch: "plug", iodepth: "1" }), []],
    [plannedPoint({ batch: "plug", iodepth: "2" }), [120]],
    [plannedPoint({ batch: "none", iodepth: "2" }), []],
  ] as const;
  const tables = sweepTables(dataset(points, "device"));
  assert.deepEqual(tables.map(({ title, rows }) => [title, rows.map((row) => row.slice(0, 3))]), [
    ["device, the baseline", [["1", "100", "100–100"]]],
    ["plug", [["2", "120", ""]]],
  ]);
});

Deno.test("two sweeps side by side tell each point's change, for points that both have", () => {
  const make = (...iops: number[]) =>
    dataset(
      iops.map((value, at) => [plannedPoint({ batch: "plug", iodepth: String(2 ** at) }), [value, value + 1]]),
      null,
    );
  const [table] = comparisonTables(make(100, 200), make(90, 200, 300));
  assert.deepEqual(table!.rows.map((row) => row.slice(0, 5)), [
    ["1", "100", "90", "-9%", "slower in every round"],
    ["2", "200", "200", "+0%", "rounds overlap: may be chance"],
  ]);
});

Deno.test("tables align in text, are Markdown in Markdown, and lose columns without content", () => {
  const column = (name: string, align: "left" | "right") => ({ name, align });
  const table = {
    title: "T",
    columns: [column("n", "right"), column("empty", "right"), column("words", "left")],
    rows: [["1", "", "a"], ["20", "", "longer"]],
  };
  assert.equal(tableText(table), "T\n   n  words\n   1  a\n  20  longer\n");
  assert.equal(tableMarkdown(table), "| n | words |\n| --: | :-- |\n| 1 | a |\n| 20 | longer |\n");
});
