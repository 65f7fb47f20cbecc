import { failed } from "../failure.ts";
import { type LunAddress, type LunPlan, parseLun, parseLunAddress } from "./lun_option.ts";

/** What an adapter is told to do with its disks. */
type LunOrder =
  | { readonly do: "list" }
  | { readonly do: "add"; readonly lun: LunPlan }
  | { readonly do: "remove"; readonly lun: LunAddress };

/** The order as a line of JSON says it: the disk as text, as on the command line. */
export type LunRequest =
  | { readonly do: "list" }
  | { readonly do: "add" | "remove"; readonly lun: string };

/** Reads a request of a client, which may be anything. Throws CliError. */
export function readLunOrder(request: unknown): LunOrder {
  const { do: action, lun } = Object(request) as Record<string, unknown>;
  if (action === "list") return { do: "list" };
  if (action !== "add" && action !== "remove") {
    throw failed(`Cannot do ${JSON.stringify(action)}: wanted add, remove or list`);
  }
  if (typeof lun !== "string") throw failed(`Cannot ${action} ${JSON.stringify(lun)}: wanted a LUN as text`);
  return action === "add"
    ? { do: "add", lun: parseLun(lun, "LUN") }
    : { do: "remove", lun: parseLunAddress(lun, "LUN") };
}
