/**
 * Opens a device while fewer and fewer descriptors are taken, and says what the opens that failed have left behind:
 * `few_descriptors.ts DRIVER PATH`, in a process of its own that may have few.
 */
import { listSystemFolder, readSystemFile } from "../../../ffi/sysfs.ts";
import { openDevice } from "../../../mod.ts";

const [driver, path] = Deno.args as [string, string];

/** RLIMIT_NOFILE of bits/resource.h, and what it is lowered to. */
const RLIMIT_NOFILE = 7;
const MAX_DESCRIPTORS = 200n;
/** More than an open takes. */
const MOST_FREE = 12;

/** Kernel queues that are mapped, and open descriptors. */
function held(): string {
  const maps = readSystemFile("/proc/self/maps")!.split("\n");
  const queues = maps.filter((line) => /\[aio\]|io_uring/.test(line)).length;
  return `${queues} mappings, ${listSystemFolder("/proc/self/fd").length} descriptors`;
}

/** The event loop closes its handles a little later. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 100));

const say = (text: string) => void Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));

/** True when the device opened. */
async function attempt(): Promise<boolean> {
  try {
    const device = await openDevice(path, { driver, queueDepth: 64 });
    await device.close();
    return true;
  } catch {
    return false;
  }
}

const { symbols } = Deno.dlopen("libc.so.6", { setrlimit: { parameters: ["i32", "buffer"], result: "i32" } });
if (symbols.setrlimit(RLIMIT_NOFILE, BigUint64Array.of(MAX_DESCRIPTORS, MAX_DESCRIPTORS)) !== 0) Deno.exit(2);
// What the first device leaves for the next one is no leak.
if (!await attempt()) Deno.exit(3);
await settled();
// The runtime makes a socket pair of its own for signals, when it first wants one.
const ignore = () => {};
Deno.addSignalListener("SIGUSR2", ignore);
Deno.removeSignalListener("SIGUSR2", ignore);
const before = held();
const hogs: Deno.FsFile[] = [];
try {
  for (;;) hogs.push(Deno.openSync(path));
} catch {
  // Full.
}
let failures = 0;
for (let free = 0; free < MOST_FREE; free++) {
  if (free > 0) hogs.pop()!.close();
  if (!await attempt()) failures++;
}
for (const hog of hogs) hog.close();
say(`failures: ${failures > 0 && failures < MOST_FREE}, works: ${await attempt()}`);
await settled();
say(before === held() ? "nothing left" : `before: ${before}; after: ${held()}`);
