/** Terminates Workers that read and prints what is left of them: `terminated_workers.ts COUNT TARGET VARIANTS [served]`. */
import type { DeviceOptions } from "../../../mod.ts";
import { terminateWorkers } from "../../support/terminated_workers.ts";

const [count, target, variants, served] = Deno.args as [string, string, string, string?];
const options = {
  count: Number(count),
  target,
  variants: JSON.parse(variants) as DeviceOptions[],
  served: served === "served",
};
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(await terminateWorkers(options))));
