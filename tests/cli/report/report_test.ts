/** The report of a results folder: page, Markdown and SVG, looked at in a browser, and folders that have none. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { spreadLabels } from "../../../cli/report/labels.ts";
import { MANIFEST_NAME } from "../../../cli/report/manifest.ts";
import { browse, findBrowser } from "../../support/browser.ts";
import { testWhen } from "../../support/skip.ts";
import { refusal, runCli, TempFolder } from "../support.ts";
import { manifestOf, plannedPoint, writeFolder } from "../sweep/fixtures.ts";

const DEPTHS = ["1", "8", "32", "128"];
const MODES = ["none", "device", "plug", "dispatch"];
const DRIVERS = ["io_uring", "linux_aio"];

/** A made-up sweep of two drivers and four modes with fio beside it. */
function writeSweep(path: string, factor = 1): void {
  const points = DRIVERS.flatMap((driver) => [
    ...MODES.flatMap((batch) => DEPTHS.map((iodepth) => plannedPoint({ driver, bs: "4096", batch, iodepth }))),
    ...DEPTHS.map((iodepth) => plannedPoint({ driver, bs: "4096", iodepth }, "fio")),
  ]);
  writeFolder(path, manifestOf(points, "device", 3), ({ coordinates: { batch, iodepth } }, round) => {
    const slow = batch === "none" ? 0.7 : 1;
    return Math.round(factor * slow * 40_000 * Math.sqrt(Number(iodepth)) * (1 + round / 50));
  });
}

function report(path: string, ...args: string[]) {
  return runCli(["report", path, ...args]);
}

Deno.test("a report is one page without scripts or outside links, Markdown, and an SVG file for each graph", async () => {
  using temp = new TempFolder();
  writeSweep(temp.path);
  const { code, stderr } = await report(temp.path);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  const html = Deno.readTextFileSync(join(temp.path, "report.html"));
  const svgs = [...Deno.readDirSync(join(temp.path, "graphs"))].map(({ name }) => name).sort();
  // Seven kinds of graphs, each for two drivers.
  assert.equal(svgs.length, 14);
  assert.equal(html.match(/<figure>/g)!.length, 14);
  assert.ok(!/<script|<link|src=|url\(|@import/.test(html));
  assert.deepEqual([...html.matchAll(/href="([^"]+)"/g)].filter(([, href]) => !href!.startsWith("raw/")), []);
  for (const [, href] of html.matchAll(/href="([^"]+)"/g)) Deno.statSync(join(temp.path, decodeURI(href!)));
  for (const id of html.matchAll(/ id="([^"]+)"/g)) assert.equal(html.split(` id="${id[1]}"`).length, 2, id[1]);
  const markdown = Deno.readTextFileSync(join(temp.path, "report.md"));
  for (const svg of svgs) assert.ok(markdown.includes(`(graphs/${svg})`), svg);
  for (const wanted of ["change vs device", "of fio", "slower in every round", "--made-up"]) {
    assert.ok(markdown.includes(wanted), wanted);
  }
});

Deno.test("each graph has units on its axes, and each line its name beside it", async () => {
  using temp = new TempFolder();
  writeSweep(temp.path);
  await report(temp.path);
  const read = (name: string) => Deno.readTextFileSync(join(temp.path, "graphs", `${name}.svg`));
  for (const measure of ["iops", "latency-p50", "latency-p99", "submits", "cpu"]) {
    const svg = read(`${measure}-io-uring`);
    assert.match(svg, /queue depth/);
    assert.match(
      svg,
      />(I\/Os per second, thousands|p\d+ latency, µs \(log\)|submits per I\/O \(log\)|CPU per I\/O, µs)</,
    );
    for (const mode of MODES) assert.ok(svg.includes(`>${mode}</text>`), `${measure}: ${mode}`);
    // A file of its own brings its colours for light and dark paper.
    assert.match(svg, /^<svg[^>]*><style>:root \{[^]*prefers-color-scheme: dark/);
    assert.match(svg, /var\(--blue, #0067a5\)/);
  }
  assert.match(read("distribution-io-uring"), /latency, µs \(log\)/);
  assert.match(read("time-linux-aio"), /minutes/);
});

/** Reads both pages inside a page, at two widths, as only a browser can. */
function harness(html: string): string {
  const frame = (width: number) => `<iframe style="width:${width}px;height:900px;border:0"></iframe>`;
  return `<!doctype html><body>${frame(1100)}${frame(390)}<pre id="out"></pre><script>
const html = ${JSON.stringify(html).replaceAll("</", "<\\/")};
const frames = [...document.querySelectorAll("iframe")];
let left = frames.length;
for (const frame of frames) {
  frame.onload = () => { if (--left === 0) look(); };
  frame.srcdoc = html;
}
function look() {
  document.getElementById("out").textContent = JSON.stringify(frames.map(({ contentDocument: page, contentWindow }) => {
    const shown = [...page.querySelectorAll("figure svg")].filter((svg) => svg.getBoundingClientRect().width > 0);
    const label = page.querySelector("figure svg text");
    return {
      overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      graphs: shown.length,
      narrowest: Math.min(...shown.map((svg) => svg.getBoundingClientRect().width)),
      labelPixels: label.getBoundingClientRect().height,
      lines: [...shown[0].querySelectorAll("path")].map((path) => contentWindow.getComputedStyle(path).stroke),
    };
  }));
}
</script></body>`;
}

testWhen(
  findBrowser() !== null || "chromium is not installed",
  "a browser shows every graph at desktop and phone width, and nothing is wider than the page",
  async () => {
    using temp = new TempFolder();
    writeSweep(temp.path);
    await report(temp.path);
    const page = join(temp.path, "harness.html");
    Deno.writeTextFileSync(page, harness(Deno.readTextFileSync(join(temp.path, "report.html"))));
    const dom = await browse(page, "--virtual-time-budget=10000", "--dump-dom");
    const [, json] = /<pre id="out">(\[.*?\])<\/pre>/.exec(dom) ?? [];
    assert.ok(json !== undefined, dom.slice(-500));
    const [wide, narrow] = JSON.parse(json);
    for (const view of [wide, narrow]) {
      assert.equal(view.overflow, 0);
      assert.equal(view.graphs, 14);
      // Colours are variables of the page: a name that it does not have would leave lines without colour.
      assert.ok(view.lines.includes("rgb(0, 103, 165)"), JSON.stringify(view.lines));
    }
    assert.ok(wide.narrowest > 400 && narrow.narrowest > 300, `${wide.narrowest}, ${narrow.narrowest}`);
    const picture = join(temp.path, "page.png");
    await browse(join(temp.path, "report.html"), "--window-size=1100,2400", `--screenshot=${picture}`);
    assert.ok(Deno.statSync(picture).size > 50_000);
  },
);

Deno.test("an older sweep stands beside the new one, on the same scale and in tables", async () => {
  using temp = new TempFolder();
  const [old, now] = ["old", "now"].map((name) => join(temp.path, name)) as [string, string];
  writeSweep(old);
  writeSweep(now, 0.5);
  const { code, stderr } = await report(now, "--compare", old);
  assert.equal(code, 0, stderr);
  const markdown = Deno.readTextFileSync(join(now, "report.md"));
  assert.match(markdown, /\| iodepth \| old iops \| new iops \| change vs old \|/);
  assert.match(markdown, /\| -50% \| slower in every round \|/);
  const ticks = (name: string) =>
    [...Deno.readTextFileSync(join(now, "graphs", name)).matchAll(/>(\d+)<\/text>/g)].map(([, tick]) => tick);
  assert.deepEqual(ticks("compare-iops-old-io-uring.svg"), ticks("compare-iops-new-io-uring.svg"));
});

Deno.test("a sweep that is half done has a report that says so", async () => {
  using temp = new TempFolder();
  const points = DEPTHS.map((iodepth) => plannedPoint({ batch: "plug", iodepth }));
  writeFolder(temp.path, manifestOf(points, null, 2), ({ coordinates }) => coordinates.iodepth === "1" ? 1000 : null);
  assert.equal((await report(temp.path)).code, 0);
  assert.match(Deno.readTextFileSync(join(temp.path, "report.html")), /2 of 8 runs are there/);
});

Deno.test("names in results cannot become marks of the page", async () => {
  using temp = new TempFolder();
  const manifest = manifestOf([plannedPoint({ batch: "plug", iodepth: "1" })], null);
  const target = '/dev/<img src=x onerror="alert(1)">';
  writeFolder(temp.path, { ...manifest, plan: { ...manifest.plan, target }, context: { target } }, () => 1000);
  await report(temp.path);
  const html = Deno.readTextFileSync(join(temp.path, "report.html"));
  assert.ok(!html.includes("<img"));
  assert.ok(html.includes("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;"));
});

Deno.test("a folder without results is one line and exit code 1, and nothing is written there", async () => {
  using temp = new TempFolder();
  const empty = async (message: RegExp) => {
    const before = temp.names();
    const { lines, exitCode } = await refusal("report", temp.path);
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0]!, message);
    assert.equal(exitCode, 1);
    assert.deepEqual(temp.names(), before);
  };
  await empty(/^Cannot read results .*: there is no manifest\.json, wanted a folder that a sweep wrote$/);
  for (
    const [path, why] of [[join(temp.path, "nope"), "it does not exist"], [temp.file("f", 1), "it is not a folder"]]
  ) {
    const { lines } = await refusal("report", path!);
    assert.deepEqual(lines, [`Cannot read results ${path}: ${why}, wanted a folder that a sweep wrote`]);
  }
  const manifest = manifestOf([plannedPoint({ batch: "plug", iodepth: "1" })], null);
  const write = (value: unknown) => Deno.writeTextFileSync(join(temp.path, MANIFEST_NAME), JSON.stringify(value));
  write(manifest);
  await empty(/^Cannot draw .*: it has no results yet, wanted at least one run$/);
  write({ ...manifest, version: 99 });
  await empty(/has version 99, wanted version 1$/);
  write({ hello: "world" });
  await empty(/it is not the manifest of a sweep/);
});

Deno.test("a result that cannot be read is named, left out, and makes the exit code 1", async () => {
  using temp = new TempFolder();
  writeSweep(temp.path);
  const id = "plugio-io_uring-4096-plug-8";
  Deno.writeTextFileSync(join(temp.path, "raw", `${id}.r2.json`), '{"jobs":');
  const { code, stderr } = await report(temp.path);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^Cannot read result .*${id}\\.r2\\.json: it is not JSON, wanted it whole\n$`));
  assert.match(Deno.readTextFileSync(join(temp.path, "report.html")), /119 of 120 runs are there/);
});

Deno.test("sweeps without a common point cannot stand beside each other", async () => {
  using temp = new TempFolder();
  const make = (name: string, iodepth: string) => {
    const path = join(temp.path, name);
    writeFolder(path, manifestOf([plannedPoint({ batch: "plug", iodepth })], null), () => 1000);
    return path;
  };
  const { code, stderr } = await report(make("new", "1"), "--compare", make("old", "2"));
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot compare .* they have no point in common/);
});

Deno.test("names of lines keep their distance, their order and the graph", () => {
  assert.deepEqual(spreadLabels([50, 10, 90], 15, 100), [50, 10, 90]);
  assert.deepEqual(spreadLabels([50, 50], 10, 100), [45, 55]);
  assert.deepEqual(spreadLabels([0, 1, 2], 10, 100), [0, 10, 20]);
  assert.deepEqual(spreadLabels([100, 99, 20], 10, 100), [100, 90, 20]);
  const placed = spreadLabels([30, 31, 32, 33, 80, 81], 12, 120).toSorted((a, b) => a - b);
  for (let at = 1; at < placed.length; at++) assert.ok(placed[at]! - placed[at - 1]! >= 12 - 1e-9, `${placed}`);
});
