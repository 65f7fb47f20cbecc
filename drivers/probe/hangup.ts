import { parseIgnoredSignals } from "../../core/system/sysfs_text.ts";
import { systemFiles } from "./system_files.ts";

/** Number of SIGHUP on all architectures (signal(7)). */
const SIGHUP = 1;

/**
 * Whether this process ignores SIGHUP, as below nohup(1): a program that listens to it takes that back. Null where the
 * system does not tell, or without `--allow-ffi`. To be asked before anything listens to a signal.
 */
export function hangupIsIgnored(): boolean | null {
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return null;
  return parseIgnoredSignals(systemFiles.readText("/proc/self/status") ?? "")?.includes(SIGHUP) ?? null;
}
