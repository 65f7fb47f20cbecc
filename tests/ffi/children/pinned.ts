/** Lets a Worker open the libraries and end; prints which of them the process still has. */
import { readTextFile } from "../../../ffi/libc/mod.ts";

const MAPS_BYTES = 1 << 20;

const worker = new Worker(new URL("loading_worker.ts", import.meta.url), { type: "module" });
await new Promise((resolve) => worker.onmessage = resolve);
worker.terminate();
// The runtime closes what the Worker opened a little after terminate returned.
await new Promise((resolve) => setTimeout(resolve, 500));
const maps = readTextFile("/proc/self/maps", MAPS_BYTES);
const left = ["liburing", "libaio", "libblkio"].filter((name) => maps.includes(`/${name}.so`));
Deno.stdout.writeSync(new TextEncoder().encode(left.join(" ")));
