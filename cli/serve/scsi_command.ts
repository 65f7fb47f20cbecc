import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import {
  type ScsiLun,
  serveControl,
  type ServedScsi,
  type ServeScsiOptions,
  serveVhostUserScsi,
} from "../../devices/serve/mod.ts";
import type { BlockDevice, QueueStats } from "../../mod.ts";
import { chosenDriver } from "../driver.ts";
import { ExitCode } from "../exit_codes.ts";
import { failed } from "../failure.ts";
import { checkServedTarget } from "../load/target.ts";
import { InterruptWatch } from "../signals.ts";
import { writeNotice } from "../terminal.ts";
import { counted } from "../words.ts";
import { openFirst } from "./device.ts";
import { readLunOrder } from "./lun_orders.ts";
import { type LunAddress, type LunPlan, shownAddress } from "./lun_option.ts";
import type { ServeScsiPlan } from "./scsi_options.ts";

const log = (line: string) => writeNotice(`serve: ${line}`);

/** Serves an adapter until a signal comes; prints what was done. */
export async function runServeScsi(plan: ServeScsiPlan): Promise<ExitCode> {
  await using disks = new AdapterDisks(plan);
  const luns: ScsiLun[] = [];
  for (const lun of plan.luns) luns.push(await disks.open(lun));
  let stop = () => {};
  let abandon = () => {};
  // A disk does not answer, say: what is in flight ends with the process.
  using watch = new InterruptWatch(() => abandon());
  await using server = serveVhostUserScsi(luns, plan.socket, serverOptionsOf(plan));
  abandon = () => server.abandon();
  stop = () => void server.close();
  watch.onInterrupt = stop;
  if (watch.interrupted) stop();
  const control = plan.control === null ? null : serveControl(plan.control, (order) => obey(order, server, disks));
  log(describe(plan, server));
  try {
    await server.served;
  } finally {
    await control?.close();
  }
  log(summary(server, disks.stats));
  return ExitCode.ok;
}

/** Does what a client of the control socket asks for. */
async function obey(request: unknown, server: ServedScsi, disks: AdapterDisks): Promise<unknown> {
  const order = readLunOrder(request);
  switch (order.do) {
    case "list":
      return server.luns;
    case "add": {
      const at = shownAddress(order.lun);
      if (server.luns.some((lun) => shownAddress(lun) === at)) {
        throw failed(`Cannot add LUN ${at}: it is there already, wanted another LUN or target`);
      }
      const lun = await disks.open(order.lun);
      try {
        await server.addLun(lun);
      } catch (error) {
        await disks.close(order.lun);
        throw error;
      }
      return log(`LUN ${at} is ${order.lun.path} now`);
    }
    case "remove":
      await server.removeLun(order.lun);
      await disks.close(order.lun);
      return log(`LUN ${shownAddress(order.lun)} is gone`);
  }
}

/** The disks that an adapter has open. */
class AdapterDisks implements AsyncDisposable {
  readonly #plan: ServeScsiPlan;
  readonly #open = new Map<string, BlockDevice>();

  constructor(plan: ServeScsiPlan) {
    this.#plan = plan;
  }

  /** Counters of the disks, those that were taken away left out. */
  get stats(): readonly QueueStats[] {
    return [...this.#open.values()].map(({ stats }) => stats);
  }

  /** Opens a disk for its place. */
  async open(lun: LunPlan): Promise<ScsiLun> {
    const { path, readOnly, target, lun: number, serial, wwn, rotation } = lun;
    const { direct, directAsked, batch, logicalBlockSize, physicalBlockSize } = this.#plan;
    const driver = chosenDriver(this.#plan.driver, path);
    checkServedTarget(path, driver, !readOnly);
    const open = { target: path, driver, direct, directAsked, readOnly, batch, logicalBlockSize };
    const device = await openFirst(open, log);
    if (device.size < logicalBlockSize) {
      await device.close();
      const unit = logicalBlockSize === SECTOR_BYTES ? "sector" : "block";
      throw failed(
        `Cannot serve ${device.target}: it has ${device.size} bytes, wanted at least one ${unit} of ${logicalBlockSize}`,
      );
    }
    this.#open.set(shownAddress(lun), device);
    return {
      ...{ device, target, lun: number, readOnly, logicalBlockSize },
      ...(physicalBlockSize === undefined ? {} : { physicalBlockSize }),
      ...(serial === undefined ? {} : { serial }),
      ...(wwn === undefined ? {} : { wwn }),
      ...(rotation === undefined ? {} : { rotation }),
    };
  }

  /** Closes a disk that is not served any more. */
  async close(address: LunAddress): Promise<void> {
    const at = shownAddress(address);
    const device = this.#open.get(at);
    this.#open.delete(at);
    await device?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const results = await Promise.allSettled([...this.#open.values()].map((device) => device.close()));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

/** What the server itself is told of a plan; it knows no other options. */
function serverOptionsOf(plan: ServeScsiPlan): ServeScsiOptions {
  const { queueCount, queueSize, socketMode, socketGroup, lock, format, writeBack, merge, deferNotify } = plan;
  const { batchRamp, poll, block } = plan;
  return {
    ...{ queueCount, queueSize, lock, writeBack, merge, deferNotify, batchRamp, poll, block, log },
    ...(socketMode === undefined ? {} : { socketMode }),
    ...(socketGroup === undefined ? {} : { socketGroup }),
    ...(format === undefined ? {} : { format }),
  };
}

function describe({ socket, queueCount, queueSize }: ServeScsiPlan, { luns }: ServedScsi): string {
  const disks = luns.map(({ target, lun, path }) => `${shownAddress({ target, lun })} ${path}`).join(", ");
  return `${disks} at ${typeof socket === "number" ? `descriptor ${socket}` : socket}: ` +
    `${counted(queueCount, "queue")} of ${queueSize} entries`;
}

/** What batching did. */
function summary({ stats }: ServedScsi, disks: readonly QueueStats[]): string {
  const { answers, errors, notifications, copied, runs } = stats;
  const perRequest = (count: number) => answers === 0 ? "0" : (count / answers).toPrecision(3);
  const submits = disks.reduce((total, each) => total + each.submits, 0);
  return `${counted(answers, "request")}, ${counted(errors, "error")}; per request ` +
    `${perRequest(notifications)} notifications, ${perRequest(submits)} submits, ${perRequest(copied)} copies, ` +
    `${perRequest(runs)} runs`;
}
