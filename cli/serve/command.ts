import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { formatSize } from "../../core/base/units.ts";
import { serveVhostUserBlk } from "../../devices/serve/mod.ts";
import type { BlockDevice } from "../../mod.ts";
import { ExitCode } from "../exit_codes.ts";
import { failed, throwAll } from "../failure.ts";
import { checkServedTarget } from "../load/target.ts";
import { InterruptWatch } from "../signals.ts";
import { writeNotice } from "../terminal.ts";
import { counted } from "../words.ts";
import { openFirst, serveOptionsOf } from "./device.ts";
import type { ServeCounters } from "./messages.ts";
import type { ServePlan } from "./options.ts";
import { ServePool } from "./pool.ts";

const log = (line: string) => writeNotice(`serve: ${line}`);

/** Serves a disk until a signal comes; prints what was done. */
export async function runServe(plan: ServePlan): Promise<ExitCode> {
  checkServedTarget(plan.target, plan.driver, !plan.readOnly);
  await using device = await openFirst(plan, log);
  const { logicalBlockSize } = plan;
  if (device.size < logicalBlockSize) {
    const unit = logicalBlockSize === SECTOR_BYTES ? "sector" : "block";
    throw failed(
      `Cannot serve ${device.target}: it has ${device.size} bytes, wanted at least one ${unit} of ${logicalBlockSize}`,
    );
  }
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
  log(summary(pool === null ? [{ disk: server.stats, device: device.stats }] : pool.counters));
  throwAll([...errors]);
  return ExitCode.ok;
}

function describe(plan: ServePlan, device: BlockDevice): string {
  const { queueCount, queueSize, workerCount, readOnly, socket } = plan;
  return `${device.target} (${device.driver}, ${formatSize(device.size)}${readOnly ? ", read-only" : ""}) at ` +
    `${typeof socket === "number" ? `descriptor ${socket}` : socket}: ${
      counted(queueCount, "queue")
    } of ${queueSize} entries, ${counted(workerCount, "Worker")}`;
}

/** What batching did, over all Workers. */
function summary(counters: readonly ServeCounters[]): string {
  const sum = (pick: (each: ServeCounters) => number) => counters.reduce((total, each) => total + pick(each), 0);
  const requests = sum(({ disk }) => disk.answers);
  const perRequest = (count: number) => requests === 0 ? "0" : (count / requests).toPrecision(3);
  return `${counted(requests, "request")}, ${counted(sum(({ disk }) => disk.errors), "error")}; per request ` +
    `${perRequest(sum(({ disk }) => disk.notifications))} notifications, ` +
    `${perRequest(sum(({ device }) => device.submits))} submits, ` +
    `${perRequest(sum(({ disk }) => disk.copied))} copies, ${perRequest(sum(({ disk }) => disk.runs))} runs`;
}
