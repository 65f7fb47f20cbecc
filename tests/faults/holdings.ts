/**
 * What a process holds of the machine: descriptors, mapped kernel queues, locked and pinned memory.
 *
 * @module
 */
import { readLink } from "../../ffi/libc/mod.ts";
import { listSystemFolder, readSystemFile } from "../../ffi/sysfs.ts";

/** Mappings that are plugio's in every driver: rings, AIO contexts, memory that is shared. */
const OWN_MAPPING = /\[io_uring\]|\[aio\]|\/memfd:/;

/** Counts by name; a name that is not there counts 0. */
export type Holdings = Readonly<Record<string, number>>;

/** Looks at this process. `extra` is counted with it. */
export function holdings(extra: Holdings = {}): Holdings {
  const found: Record<string, number> = { ...extra };
  const count = (name: string) => found[name] = (found[name] ?? 0) + 1;
  for (const fd of listSystemFolder("/proc/self/fd")) {
    // The folder itself was open while it was listed.
    const leadsTo = readLink(`/proc/self/fd/${fd}`);
    if (leadsTo !== null && !/^\/proc\/\d+\/fd$/.test(leadsTo)) count(`descriptor ${kindOf(leadsTo)}`);
  }
  for (const line of readSystemFile("/proc/self/maps")?.split("\n") ?? []) {
    const own = OWN_MAPPING.exec(line);
    if (own !== null) count(`mapping ${own[0]}`);
  }
  const status = readSystemFile("/proc/self/status") ?? "";
  for (const name of ["VmLck", "VmPin"]) found[`${name} kB`] = memoryOf(status, name);
  return found;
}

/** A line of /proc/self/status in kB. */
export function memoryOf(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? 0);
}

/** The number of a socket or a pipe, and the folder of a file, tell nothing. */
function kindOf(leadsTo: string): string {
  return leadsTo.replace(/:\[\d+\]$/, "").replace(/^.*\//, "");
}

/** What there is more of than before, one line each. */
export function grown(before: Holdings, after: Holdings): string[] {
  const lines: string[] = [];
  for (const [name, count] of Object.entries(after)) {
    const old = before[name] ?? 0;
    if (count > old) lines.push(`${name}: ${old} before, ${count} after`);
  }
  return lines;
}
