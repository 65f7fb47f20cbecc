import { resolve } from "node:path";
import { formatSize } from "../../core/base/units.ts";
import { askControl, ControlRefusal, type ServedLun } from "../../devices/serve/mod.ts";
import { StorageError } from "../../mod.ts";
import { driverPrefix } from "../driver.ts";
import { ExitCode } from "../exit_codes.ts";
import { failed, misuse } from "../failure.ts";
import { type RawOptions, text } from "../load/raw_options.ts";
import { writeOutput } from "../terminal.ts";
import { lunText, parseLun, parseLunAddress, shownAddress } from "./lun_option.ts";
import type { LunRequest } from "./lun_orders.ts";

/** Adds a disk to an adapter. A path is one of this folder, not of the server's. */
export async function addLun(lun: string, raw: RawOptions): Promise<ExitCode> {
  const plan = parseLun(lun, "LUN");
  const path = driverPrefix(plan.path) === undefined ? resolve(plan.path) : plan.path;
  await ask(raw, { do: "add", lun: lunText({ ...plan, path }) });
  return ExitCode.ok;
}

/** Takes a disk away from an adapter. */
export async function removeLun(lun: string, raw: RawOptions): Promise<ExitCode> {
  await ask(raw, { do: "remove", lun: shownAddress(parseLunAddress(lun, "LUN")) });
  return ExitCode.ok;
}

/** Prints the disks of an adapter. */
export async function listLuns(raw: RawOptions): Promise<ExitCode> {
  const luns = await ask(raw, { do: "list" }) as readonly ServedLun[];
  writeOutput(raw["json"] === true ? `${JSON.stringify(luns, null, 2)}\n` : luns.map(lineOf).join(""));
  return ExitCode.ok;
}

function lineOf({ target, lun, path, bytes, readOnly, serial, wwn }: ServedLun): string {
  const mode = readOnly ? ", read-only" : "";
  return `${shownAddress({ target, lun })} ${path} (${formatSize(bytes)}${mode}), serial ${serial}, wwn ${wwn}\n`;
}

async function ask(raw: RawOptions, request: LunRequest): Promise<unknown> {
  const path = text(raw, "control");
  if (path === null) throw misuse("Cannot reach an adapter: wanted --control <path>, as it was served with");
  try {
    return await askControl(path, request);
  } catch (error) {
    if (error instanceof ControlRefusal) throw failed(error.message);
    if (!(error instanceof StorageError) || error.kind !== "open") throw error;
    throw failed(`${error.message}, wanted the control socket of an adapter that is served`, error);
  }
}
