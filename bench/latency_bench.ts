/** What recording one latency costs: the bound is 60 ns an I/O. */
import { LatencyCounts } from "../cli/load/latency.ts";
import { Random } from "../core/base/random.ts";
import { context, OPERATIONS, register } from "./support.ts";

context();

const GROUP = "recording a latency";
const random = new Random(1);
const counts = new LatencyCounts();
const same = 50_000;
const different = Float64Array.from({ length: OPERATIONS }, () => 10_000 + random.below(1_000_000));

register(`1000 × LatencyCounts.record, each another latency`, { group: GROUP, baseline: true }, () => {
  for (let at = 0; at < OPERATIONS; at++) counts.record(different[at]!);
});

register(`1000 × LatencyCounts.record, the same latency`, { group: GROUP }, () => {
  for (let at = 0; at < OPERATIONS; at++) counts.record(same);
});
