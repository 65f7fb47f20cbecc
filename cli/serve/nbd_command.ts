import { formatSize } from "../../core/base/units.ts";
import { type NbdSocket, serveNbd } from "../../devices/serve/mod.ts";
import { type BlockDevice, openDevice } from "../../mod.ts";
import { ExitCode } from "../exit_codes.ts";
import { checkServedTarget } from "../load/target.ts";
import { InterruptWatch } from "../signals.ts";
import { writeNotice } from "../terminal.ts";
import { counted } from "../words.ts";
import type { ServeNbdPlan } from "./nbd_options.ts";

const log = (line: string) => writeNotice(`serve: ${line}`);

/** Serves a disk over NBD until a signal comes; prints what was done. */
export async function runServeNbd(plan: ServeNbdPlan): Promise<ExitCode> {
  const { target, driver, readOnly, direct, batch, socket, exportName, lock, format } = plan;
  checkServedTarget(target, driver, !readOnly);
  await using device = await openDevice(target, {
    ...(driver === null ? {} : { driver }),
    ...{ direct, readOnly, batch, exclusive: !readOnly },
  });
  let stop = () => {};
  let abandon = () => {};
  // The disk does not answer, say: what is in flight ends with the process.
  using watch = new InterruptWatch(() => abandon());
  await using server = await serveNbd(device, socket, {
    ...{ exportName, lock, log },
    ...(format === undefined ? {} : { format }),
  });
  abandon = () => server.abandon();
  stop = () => void server.close();
  watch.onInterrupt = stop;
  if (watch.interrupted) stop();
  log(`${describe(device)} at ${uriOf(socket, server.port, exportName)}`);
  await server.served;
  const { clients, requests, errors, sends } = server.stats;
  const perRequest = (count: number) => requests === 0 ? "0" : (count / requests).toPrecision(3);
  log(
    `${counted(clients, "client")}, ${counted(requests, "request")}, ${counted(errors, "error")}; per request ` +
      `${perRequest(sends)} sends, ${perRequest(device.stats.submits)} submits`,
  );
  return ExitCode.ok;
}

function describe({ target, driver, size, info }: BlockDevice): string {
  return `${target} (${driver}, ${formatSize(size)}${info.readOnly ? ", read-only" : ""})`;
}

/** The address for clients. */
function uriOf(socket: NbdSocket, port: number | null, exportName: string): string {
  const name = encodeURIComponent(exportName);
  if (typeof socket === "string") return `nbd+unix:///${name}?socket=${encodeURI(socket)}`;
  const host = socket.host.includes(":") ? `[${socket.host}]` : socket.host;
  return `nbd://${host}:${port}/${name}`;
}
