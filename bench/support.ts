/**
 * What the benches share: registration that knows smoke mode, the context block, lanes, and the file that is read.
 *
 * With PLUGIO_BENCH_SMOKE=1 each case runs a few operations only: the tests use it to see that no bench rots. Names stay
 * as they are, so the figures of smoke mode mean nothing.
 *
 * @module
 */
import { randomFillSync } from "node:crypto";
import { cpus } from "node:os";
import { formatSize } from "../core/base/units.ts";
import { type BlockDevice, type DeviceOptions, type IoRequest, openDevice } from "../mod.ts";

/** True when the benches only have to prove that they run. */
export const SMOKE: boolean = Deno.env.get("PLUGIO_BENCH_SMOKE") === "1";

/** Operations of a case in smoke mode; not below the largest depth. */
const SMOKE_OPERATIONS = 64;

/** Operations that one iteration repeats, so that it takes longer than the clock's step and than Deno's own overhead. */
export const OPERATIONS: number = SMOKE ? SMOKE_OPERATIONS : 1000;

/** Where a case stands in the table. */
export interface Place {
  /** Cases that are compared with each other. */
  readonly group: string;
  /** The one of the group that the others are compared with. Default false. */
  readonly baseline?: boolean;
}

/** Registers a synchronous case; in smoke mode one that runs a few times only. */
export function register(name: string, place: Place, fn: () => void): void {
  Deno.bench({ name, ...place, ...(SMOKE ? { n: 1, warmup: 0 } : {}), fn });
}

/** Registers an asynchronous case. */
export function registerAsync(name: string, place: Place, fn: () => Promise<void>): void {
  // Deno awaits functions that are declared async and no others, whatever they return.
  Deno.bench({ name, ...place, ...(SMOKE ? { n: 1, warmup: 0 } : {}), fn: async () => await fn() });
}

/** Prints machine, versions and noise to standard error: standard output may be JSON. */
export function context(): void {
  const processors = cpus();
  const [load1, load5] = Deno.loadavg();
  const { total } = Deno.systemMemoryInfo();
  const lines = [
    `machine: ${processors[0]?.model ?? "unknown processor"}, ${processors.length} cores, ${
      formatSize(total)
    } of memory`,
    `versions: Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`,
    `noise: load ${load1!.toFixed(2)} over 1 minute, ${
      load5!.toFixed(2)
    } over 5; the rest of the machine is not watched`,
  ];
  Deno.stderr.writeSync(new TextEncoder().encode(lines.join("\n") + "\n"));
}

/** Runs `operation` `count` times, `depth` at any time. */
export async function inLanes(
  depth: number,
  count: number,
  operation: (lane: number, index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async (number: number) => {
    while (next < count) await operation(number, next++);
  };
  await Promise.all(Array.from({ length: depth }, (_, number) => lane(number)));
}

/** A loop over the callback API: requests that are submitted again from their own completion. */
export class CallbackLoop {
  readonly #device: BlockDevice;
  readonly #requests: readonly IoRequest[];
  readonly #prepare: (request: IoRequest, index: number) => void;
  #started = 0;
  #completed = 0;
  #count = 0;

  /** One request for each of `depth`, made by `create`; `prepare` points a request at its next target. */
  constructor(
    device: BlockDevice,
    depth: number,
    create: (onComplete: IoRequest["onComplete"], lane: number) => IoRequest,
    prepare: (request: IoRequest, index: number) => void = () => {},
  ) {
    this.#device = device;
    this.#prepare = prepare;
    const onComplete = (request: IoRequest, result: number) => this.#complete(request, result);
    this.#requests = Array.from({ length: depth }, (_, lane) => create(onComplete, lane));
  }

  /** Runs `count` requests, blocking this Worker. */
  run(count: number): void {
    this.#count = count;
    this.#started = 0;
    this.#completed = 0;
    for (const request of this.#requests) this.#next(request);
    this.#device.run(() => this.#completed === this.#count);
  }

  #next(request: IoRequest): void {
    this.#prepare(request, this.#started++);
    this.#device.submit(request);
  }

  #complete(request: IoRequest, result: number): void {
    if (result < 0) throw new Error(`Cannot go on: a request of the bench failed with errno ${-result}`);
    this.#completed++;
    if (this.#started < this.#count) this.#next(request);
  }
}

/** A temporary file of random bytes, in the page cache. Others open it by its path until it is unlinked. */
export class BenchFile implements Disposable {
  /** Path of the file. */
  readonly path: string = Deno.makeTempFileSync({ prefix: "plugio-bench-" });
  /** Size in bytes. */
  readonly byteLength: number;

  /** Makes a file of `byteLength` bytes, or of 1 MiB in smoke mode. */
  constructor(byteLength: number) {
    this.byteLength = SMOKE ? Math.min(byteLength, 1024 * 1024) : byteLength;
    const bytes = new Uint8Array(this.byteLength);
    for (let at = 0; at < bytes.length; at += 65_536) randomFillSync(bytes, at, Math.min(65_536, bytes.length - at));
    Deno.writeFileSync(this.path, bytes);
  }

  /** Opens it with plugio, read-only. Closed when the benches of the file are through. */
  async open(options: DeviceOptions = {}): Promise<BlockDevice> {
    const device = await openDevice(this.path, { readOnly: true, ...options });
    globalThis.addEventListener("unload", () => void device.close());
    return device;
  }

  /** Unlinks it: a process that has it open keeps it, and nothing is left behind however the process ends. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path);
  }
}
