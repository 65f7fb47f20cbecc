import { formatSize } from "../../core/base/units.ts";
import { serveVhostUserBlk } from "../../devices/serve/mod.ts";
import type { BlockDevice } from "../../mod.ts";
import { ExitCode } from "../exit_codes.ts";
import { throwAll } from "../failure.ts";
import { checkServedTarget } from "../load/target.ts";
import { InterruptWatch } from "../signals.ts";
import { writeNotice } from "../terminal.ts";
import { openFirst, serveOptionsOf } from "./device.ts";
import type { ServePlan } from "./options.ts";
import { ServePool } from "./pool.ts";
import { describePlace, summarize } from "./report.ts";

const log = (line: string) => writeNotice(`serve: ${line}`);

/** Serves a disk until a signal comes; prints what was done. */
export async function runServe(plan: ServePlan): Promise<ExitCode> {
  checkServedTarget(plan.target, plan.driver, !plan.readOnly);
  await using device = await openFirst(plan, log);
  let failure: Error | null = null;
  let stop = () => {};
  let abandon = () => {};
  // The disk does not answer, say: what is in flight ends with the process.
  using watch = new InterruptWatch(() => abandon());
  const opened = { ...plan, direct: plan.direct && device.info.direct };
  using pool = plan.workerCount === 1 ? null : new ServePool(opened, log, (error) => {
    failure ??= error;
    stop();
  });
  await pool?.ready();
  await using server = serveVhostUserBlk(device, plan.socket, serveOptionsOf(plan, log), pool?.ports);
  abandon = () => server.abandon();
  stop = () => void server.close();
  watch.onInterrupt = stop;
  if (watch.interrupted) stop();
  log(describe(plan, device));
  const errors = new Set<unknown>();
  const note = (error: unknown) => void errors.add(error);
  await server.served.catch(note);
  if (failure !== null) note(failure);
  await pool?.close().catch(note);
  // What was done is told also where something went wrong: by those Workers that are left.
  const counters = pool === null ? [{ disk: server.stats, device: device.stats }] : pool.counters;
  const submits = counters.reduce((total, each) => total + each.device.submits, 0);
  log(summarize(counters.map(({ disk }) => disk), submits));
  throwAll([...errors]);
  return ExitCode.ok;
}

function describe(plan: ServePlan, { target, driver, size }: BlockDevice): string {
  const disk = `${driver}, ${formatSize(size)}${plan.readOnly ? ", read-only" : ""}`;
  return `${target} (${disk}) at ${describePlace(plan)}`;
}
