/** A disk that is served in this process, and what the tests look at. */
import { join } from "node:path";
import { listFolder } from "../../../ffi/libc/mod.ts";
import { type ServeBlkOptions, type ServedBlk, serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { type BlockDevice, type DeviceOptions, openDevice } from "../../../mod.ts";
import { PROTOCOL_FEATURES_BIT, ProtocolFeature } from "../../../devices/vhost_user/wire.ts";
import { type ClientQueue, type QueueOptions, type SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { USUAL_FEATURES } from "../../support/blk_rig.ts";
import { TempDir } from "../../support/temp_file.ts";

/** What a Linux guest behind QEMU negotiates. */
export const FEATURES: bigint = USUAL_FEATURES | 1n << BigInt(PROTOCOL_FEATURES_BIT) | 1n << 12n;

/** Protocol features by name. */
export function protocol(...names: readonly (keyof typeof ProtocolFeature)[]): bigint {
  return names.reduce((bits, name) => bits | 1n << BigInt(ProtocolFeature[name]), 0n);
}

export const ALL_PROTOCOL: bigint = protocol(
  "mq",
  "replyAck",
  "config",
  "backendReq",
  "configureMemSlots",
  "inflightShmfd",
  "logShmfd",
);

/** Descriptors of this process. */
export function openDescriptors(): number {
  return listFolder("/proc/self/fd", 65_536).length;
}

/** Waits until `done`, or fails. */
export async function until(done: () => boolean, what: string): Promise<void> {
  for (let attempt = 0; attempt < 5_000; attempt++) {
    if (done()) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`It never came to this: ${what}`);
}

export class ServedRig implements AsyncDisposable {
  readonly dir: TempDir;
  readonly socket: string;
  readonly file: string;
  readonly device: BlockDevice;
  readonly server: ServedBlk;
  readonly lines: string[];

  private constructor(dir: TempDir, file: string, device: BlockDevice, options: ServeBlkOptions) {
    this.dir = dir;
    this.file = file;
    this.device = device;
    this.lines = [];
    this.socket = join(dir.path, "disk.sock");
    this.server = serveVhostUserBlk(device, this.socket, { ...options, log: (line) => void this.lines.push(line) });
  }

  static async start(
    { bytes = 1 << 18, driver = "io_uring", direct = false, readOnly = false, ...options }:
      & ServeBlkOptions
      & Pick<DeviceOptions, "driver" | "direct" | "readOnly">
      & { readonly bytes?: number } = {},
  ): Promise<ServedRig> {
    const dir = new TempDir();
    const file = dir.file("disk.img", bytes);
    const device = await openDevice(file, { batch: "plug", driver, direct, readOnly });
    return new ServedRig(dir, file, device, { queueCount: 1, ...options });
  }

  /** Resolves when a line that matches has been logged. */
  async logged(line: RegExp): Promise<void> {
    try {
      await until(() => this.lines.some((each) => line.test(each)), "it is logged");
    } catch (cause) {
      throw new Error(`The log lacks ${line}: ${JSON.stringify(this.lines)}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await this.device.close();
    this.dir[Symbol.dispose]();
  }
}

/** How a client connects. */
export interface ConnectOptions extends QueueOptions {
  readonly size?: number;
  readonly features?: bigint;
}

/** Connects, negotiates and starts one queue. */
export async function connect(
  rig: ServedRig,
  shared: SharedGuest,
  { size = 64, features = FEATURES, ...options }: ConnectOptions = {},
): Promise<{ readonly client: VhostClient; readonly queue: ClientQueue }> {
  const client = new VhostClient(rig.socket);
  await client.negotiate(features, ALL_PROTOCOL);
  client.setMemory(shared);
  return { client, queue: client.startQueue(new VirtioDriver(shared.guest, size), 0, options) };
}
