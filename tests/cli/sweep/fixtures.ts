/** Made-up sweeps: manifests and raw results without measuring anything. */
import { join } from "node:path";
import { type Manifest, MANIFEST_NAME, type PlannedPoint, RAW_FOLDER, rawName } from "../../../cli/report/manifest.ts";
import type { Coordinates } from "../../../cli/sweep/axes.ts";
import type { Subject } from "../../../cli/sweep/points.ts";

/** A point of a made-up plan: plugio unless said otherwise. */
export function plannedPoint(coordinates: Coordinates, subject: Subject = "plugio"): PlannedPoint {
  return { id: [subject, ...Object.values(coordinates)].join("-"), subject, coordinates };
}

/** A manifest of the points. */
export function manifestOf(points: readonly PlannedPoint[], baseline: string | null, rounds = 1): Manifest {
  return {
    format: "plugio-sweep",
    version: 1,
    startedAt: "2026-11-22T20:00:00.000Z",
    command: "plugio sweep --made-up",
    plan: {
      mode: "randread",
      target: "/dev/made-up",
      rounds,
      seed: 1,
      runtimeMs: 1000,
      rampMs: 0,
      baseline,
      options: {},
      points,
    },
    context: { target: "/dev/made-up", machine: "none", kernel: "none", runtime: "none" },
    warnings: [],
  };
}

/** A raw result in the layout that sweeps store, of which only `iops` has to be said. */
export function rawResult(iops: number, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    timestamp_ms: Date.parse("2026-11-22T20:00:01.000Z"),
    jobs: [{
      read: {
        iops,
        total_ios: iops,
        clat_ns: {
          N: iops,
          mean: 1e9 / iops,
          percentile: { "50.000000": 0.9e9 / iops, "99.000000": 3e9 / iops },
          bins: { "20000": 10, "21000": 30, "40000": 5 },
        },
      },
      write: { iops: 0, total_ios: 0 },
      job_runtime: 1000,
      usr_cpu: 20,
      sys_cpu: 30,
      plugio: {
        submits_per_io: 0.5,
        sqes_per_submit: 2,
        ffi_calls_per_io: 0.5,
        achieved_depth: 2,
        errors: {},
        series: [[100, iops], [200, iops * 1.1]],
      },
      ...more,
    }],
  };
}

/** Writes a results folder; `iopsOf` gives null for a run that was not made. */
export function writeFolder(
  folder: string,
  manifest: Manifest,
  iopsOf: (point: PlannedPoint, round: number) => number | null,
): void {
  Deno.mkdirSync(join(folder, RAW_FOLDER), { recursive: true });
  Deno.writeTextFileSync(join(folder, MANIFEST_NAME), JSON.stringify(manifest));
  for (let round = 1; round <= manifest.plan.rounds; round++) {
    for (const point of manifest.plan.points) {
      const iops = iopsOf(point, round);
      if (iops === null) continue;
      const path = join(folder, RAW_FOLDER, rawName(point.id, round));
      Deno.writeTextFileSync(path, JSON.stringify(rawResult(iops)));
    }
  }
}
