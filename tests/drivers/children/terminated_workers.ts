/** Terminates Workers that read and prints what is left of them: `terminated_workers.ts COUNT TARGET VARIANTS`. */
import type { DeviceOptions } from "../../../mod.ts";
import { terminateWorkers } from "../../support/terminated_workers.ts";

const [count, target, variants] = Deno.args as [string, string, string];
const options = { count: Number(count), target, variants: JSON.parse(variants) as DeviceOptions[] };
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(await terminateWorkers(options))));
