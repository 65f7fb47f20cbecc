import { type ScsiLun, serveControl, type ServedScsi, serveVhostUserScsi } from "../../devices/serve/mod.ts";
import type { BlockDevice, QueueStats } from "../../mod.ts";
import { chosenDriver } from "../driver.ts";
import { ExitCode } from "../exit_codes.ts";
import { failed } from "../failure.ts";
import { checkServedTarget } from "../load/target.ts";
import { InterruptWatch } from "../signals.ts";
import { writeNotice } from "../terminal.ts";
import { openFirst, type OpenPlan } from "./device.ts";
import { readLunOrder } from "./lun_orders.ts";
import { describePlace, summarize } from "./report.ts";
import { type LunAddress, type LunPlan, shownAddress } from "./lun_option.ts";
import { serverOptionsOf, type ServeScsiPlan } from "./scsi_options.ts";
import { ScsiPool } from "./scsi_pool.ts";

const log = (line: string) => writeNotice(`serve: ${line}`);

/** Serves an adapter until a signal comes; prints what was done. */
export async function runServeScsi(plan: ServeScsiPlan): Promise<ExitCode> {
  let failure: Error | null = null;
  let stop = () => {};
  using pool = plan.workerCount === 1 ? null : new ScsiPool(plan.workerCount, log, (error) => {
    failure ??= error;
    stop();
  });
  await pool?.start(plan);
  await using disks = new AdapterDisks(plan, pool);
  const luns: ScsiLun[] = [];
  for (const lun of plan.luns) luns.push(await disks.open(lun));
  let abandon = () => {};
  // A disk does not answer, say: what is in flight ends with the process.
  using watch = new InterruptWatch(() => abandon());
  await using server = serveVhostUserScsi(luns, plan.socket, serverOptionsOf(plan, log), pool?.ports);
  abandon = () => server.abandon();
  stop = () => void server.close();
  watch.onInterrupt = stop;
  if (watch.interrupted) stop();
  // One after the other: each looks at what there is before it opens a disk.
  let turn: Promise<unknown> = Promise.resolve();
  const control = plan.control === null ? null : serveControl(plan.control, (order) => {
    const done = turn.then(() => obey(order, server, disks));
    turn = done.catch(() => {});
    return done;
  });
  log(describe(plan, server));
  try {
    await server.served;
  } finally {
    await control?.close();
  }
  const counters = pool === null ? [{ adapter: server.stats, disks: disks.stats }] : await pool.end();
  const submits = counters.flatMap((each) => each.disks).reduce((total, each) => total + each.submits, 0);
  log(summarize(counters.map(({ adapter }) => adapter), submits));
  if (failure !== null) throw failure;
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
  readonly #pool: ScsiPool | null;
  readonly #open = new Map<string, BlockDevice>();

  constructor(plan: ServeScsiPlan, pool: ScsiPool | null) {
    this.#plan = plan;
    this.#pool = pool;
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
    try {
      await this.#openInWorkers(lun, { ...open, direct: device.info.direct }, device);
    } catch (error) {
      await device.close();
      throw error;
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

  async #openInWorkers(at: LunAddress, open: OpenPlan, { info, target }: BlockDevice): Promise<void> {
    if (this.#pool === null) return;
    if (info.singleOwner === true || info.kind === "memory") {
      const { workerCount } = this.#plan;
      throw failed(`Cannot serve ${target} with --workers ${workerCount}: it belongs to one Worker, wanted 1`);
    }
    await this.#pool.open({ target: at.target, lun: at.lun }, open);
  }

  /** Closes a disk that is not served any more. */
  async close(address: LunAddress): Promise<void> {
    const at = shownAddress(address);
    const device = this.#open.get(at);
    this.#open.delete(at);
    await this.#pool?.close({ target: address.target, lun: address.lun });
    await device?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const results = await Promise.allSettled([...this.#open.values()].map((device) => device.close()));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

function describe(plan: ServeScsiPlan, { luns }: ServedScsi): string {
  const disks = luns.map(({ target, lun, path }) => `${shownAddress({ target, lun })} ${path}`).join(", ");
  return `${disks} at ${describePlace(plan)}`;
}
