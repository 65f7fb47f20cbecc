/** F3: which neighbours are joined, and which are not. */
import assert from "node:assert/strict";
import { Opcode } from "../../../core/request/request.ts";
import { DiskRequest, MergeBuffer, type MergeLimits } from "../../../devices/disk/mod.ts";

const SECTOR = 512;
const LIMITS: MergeLimits = { maxRequests: 32, maxSegments: 64, maxBytes: 1 << 20 };

/** Offset and length in sectors of each run that these requests become. */
function runsOf(requests: readonly (readonly [op: Opcode, sector: number, sectors: number])[], limits = LIMITS) {
  const runs: string[] = [];
  const buffer = new MergeBuffer<DiskRequest>(limits, (list, start, count) => {
    const members = list.slice(start, start + count);
    const length = members.reduce((sum, request) => sum + request.length, 0);
    runs.push(`${members[0]!.op === Opcode.read ? "R" : "W"} ${members[0]!.offset / SECTOR}+${length / SECTOR}`);
  });
  for (const [op, sector, sectors] of requests) {
    const request = new DiskRequest();
    request.op = op;
    request.offset = sector * SECTOR;
    request.length = sectors * SECTOR;
    request.data.count = 1;
    buffer.add(request);
  }
  buffer.flush();
  return runs;
}

const { read: R, write: W } = Opcode;

Deno.test("F3: 8..15 and 0..7 are one read of 8 KiB, in any order", () => {
  assert.deepEqual(runsOf([[R, 8, 8], [R, 0, 8]]), ["R 0+16"]);
  assert.deepEqual(runsOf([[R, 0, 8], [R, 8, 8]]), ["R 0+16"]);
});

Deno.test("F3: of 33 neighbours 32 are joined and one is left", () => {
  const requests = Array.from({ length: 33 }, (_, index) => [W, index, 1] as const);
  assert.deepEqual(runsOf(requests), ["W 0+32", "W 32+1"]);
});

Deno.test("F3: a change of direction starts what was collected: R W R are three", () => {
  assert.deepEqual(runsOf([[R, 0, 1], [W, 1, 1], [R, 2, 1]]), ["R 0+1", "W 1+1", "R 2+1"]);
});

Deno.test("F3: more segments or bytes than a run may have split it", () => {
  const requests = Array.from({ length: 6 }, (_, index) => [R, index, 1] as const);
  assert.deepEqual(runsOf(requests, { ...LIMITS, maxSegments: 4 }), ["R 0+4", "R 4+2"]);
  assert.deepEqual(runsOf(requests, { ...LIMITS, maxBytes: 5 * SECTOR }), ["R 0+5", "R 5+1"]);
});

Deno.test("gaps and overlaps are not joined, and one request at a time joins nothing", () => {
  assert.deepEqual(runsOf([[R, 0, 2], [R, 3, 1]]), ["R 0+2", "R 3+1"]);
  assert.deepEqual(runsOf([[W, 0, 2], [W, 1, 2]]), ["W 0+2", "W 1+2"]);
  assert.deepEqual(runsOf([[R, 0, 1], [R, 1, 1]], { ...LIMITS, maxRequests: 1 }), ["R 0+1", "R 1+1"]);
});

Deno.test("a write that has to be durable is not joined with one that has not", () => {
  const runs: number[] = [];
  const buffer = new MergeBuffer<DiskRequest>(LIMITS, (_requests, _start, count) => void runs.push(count));
  for (const [sector, durable] of [[0, false], [1, false], [2, true], [3, true], [4, false]] as const) {
    const request = new DiskRequest();
    Object.assign(request, { op: Opcode.write, offset: sector * SECTOR, length: SECTOR, durable });
    buffer.add(request);
  }
  buffer.flush();
  assert.deepEqual(runs, [2, 2, 1]);
});
