/** One scenario in a process of its own, on a file of 8 MiB of the pattern: `scenario.ts NAME PATH [DRIVER]`. */
import { type BlockDevice, type DeviceOptions, openDevice } from "../../../mod.ts";

const [name, path, driver = "io_uring"] = Deno.args as [string, string, string?];
const say = (text: string) => void Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));

const open = (options: DeviceOptions = {}): Promise<BlockDevice> => openDevice(path, { driver, ...options });

function collect(): void {
  const { gc } = globalThis as unknown as { gc(): void };
  gc();
}

/** Starts reads and drops everything but the wish to know how they end. */
async function dropTheDevice(): Promise<void> {
  let done = 0;
  await (async () => {
    const device = await open({ direct: true });
    for (let index = 0; index < 256; index++) {
      const [buffer] = device.allocate(1, 4096);
      const request = device.createRequest({
        op: "read",
        buffer: buffer!,
        offset: index * 4096,
        onComplete: (_request, result) => void (result === 4096 && done++),
      });
      device.submit(request);
    }
  })();
  collect();
  for (let junk = 0; junk < 200; junk++) new Uint8Array(65536).fill(junk);
  collect();
  for (let turn = 0; done < 256 && turn < 1000; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    collect();
  }
  if (done !== 256) throw new Error(`Only ${done} of 256 requests came back`);
}

const SCENARIOS: Readonly<Record<string, () => Promise<void>>> = {
  dropTheDevice,
  idle: async () => {
    const device = await open();
    await device.read(new Uint8Array(512), 0);
  },
  idleSocketpair: async () => {
    const device = await open({ wakeup: "socketpair", direct: true });
    await device.read(new Uint8Array(512), 0);
  },
  inFlightHolds: async () => {
    const device = await open({ direct: true });
    const buffers = device.allocate(64, 4096);
    Promise.all(buffers.map((buffer, index) => device.read(buffer, index * 65536))).then(() => say("all came back"));
  },
  inFlightHoldsSocketpair: async () => {
    const device = await open({ direct: true, wakeup: "socketpair" });
    const buffers = device.allocate(64, 4096);
    Promise.all(buffers.map((buffer, index) => device.read(buffer, index * 65536))).then(() => say("all came back"));
  },
  exitInFlight: async () => {
    const device = await open({ direct: true });
    const buffers = device.allocate(512, 4096);
    for (const [index, buffer] of buffers.entries()) void device.read(buffer, index * 8192);
    await Promise.resolve();
    await Promise.resolve();
    Deno.exit(7);
  },
  throwInFlight: async () => {
    const device = await open({ direct: true });
    const buffers = device.allocate(512, 4096);
    for (const [index, buffer] of buffers.entries()) device.read(buffer, index * 8192).catch(() => {});
    await Promise.resolve();
    throw new Error("on purpose");
  },
  smallestQueueBySocketpair: async () => {
    const device = await open({ direct: true, wakeup: "socketpair", queueDepth: 1 });
    const [buffer] = device.allocate(1, 4096);
    for (let turn = 0; turn < 20; turn++) await device.read(buffer!, turn * 65536);
    await device.close();
    say("done");
  },
  runThrows: async () => {
    const device = await open({ readOnly: true });
    const [buffer] = device.allocate(1, 4096);
    let done = false;
    device.submit(device.createRequest({ op: "read", buffer: buffer!, onComplete: () => void (done = true) }));
    const fail = () => {
      if (done) throw new Error("on purpose");
      return false;
    };
    try {
      device.run(fail);
    } catch (error) {
      say(String(error));
    }
  },
  openPipe: async () => {
    await open({ readOnly: true }).then(() => say("opened"), (error) => say(error.kind));
  },
};

await SCENARIOS[name]!();
say(`end of ${name}`);
