import { inspectTarget } from "../../drivers/probe.ts";
import { StorageError } from "../../mod.ts";
import { misuse } from "../failure.ts";
import { writes } from "../load/options.ts";
import type { BlockRange } from "../load/plan.ts";
import { pathOf } from "../load/target.ts";
import { namesOf } from "../protected_files.ts";
import type { FileJob } from "./jobs.ts";

/** A job, and where on its target it reads and writes. */
export interface PlacedJob {
  readonly job: FileJob;
  /** The path or address that it opens. */
  readonly target: string;
  readonly range: BlockRange;
}

/**
 * Refuses a job that writes where another one of its group verifies, on the same target by any name: the one that reads
 * back would find what it did not write. Throws CliError, exit code 2.
 */
export function refuseOverlaps(placed: readonly PlacedJob[]): void {
  const writing = placed.filter(({ job }) => writes(job.options.mode));
  for (const one of writing.filter(({ job }) => job.options.verify)) {
    const other = writing.find((each) => each !== one && meets(one, each));
    if (other === undefined) continue;
    throw misuse(
      `Cannot run job ${one.job.name} with job ${other.job.name}: it reads back what it writes to ${one.target}, where ` +
        "the other one writes, too, wanted ranges apart by offset and size, or stonewall between them",
    );
  }
}

function meets(one: PlacedJob, other: PlacedJob): boolean {
  if (one.job.group !== other.job.group) return false;
  if (endOf(one.range) <= other.range.startBytes || endOf(other.range) <= one.range.startBytes) return false;
  const names = identitiesOf(one);
  return identitiesOf(other).some((name) => names.includes(name));
}

function endOf({ startBytes, blockBytes, blockCount }: BlockRange): number {
  return startBytes + blockBytes * blockCount;
}

/** By what a target is known: the file itself, and for a device the node that its names lead to. */
function identitiesOf({ target, job }: PlacedJob): string[] {
  const path = pathOf(target, job.options.driver);
  try {
    return [...namesOf(path), ...namesOf(inspectTarget(path).realPath)];
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    // No path: an address is the same target where it is the same text.
    return [path];
  }
}
