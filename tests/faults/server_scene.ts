/**
 * The scene of the served disk, both halves of it: what the child does, which the faults are in, and the guest of the
 * campaign's own process. A file tells the child that the guest has finished.
 *
 * @module
 */
import { join } from "node:path";
import { serveVhostUserBlk } from "../../devices/serve/mod.ts";
import { closeIdleQueues, type DeviceOptions, openDevice } from "../../mod.ts";
import { errnoName } from "../../core/base/errno.ts";
import { hasHungUp } from "../../ffi/libc/descriptor.ts";
import { BlkStatus } from "../../devices/virtio_blk/mod.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "../../devices/virtio_blk/layout.ts";
import { ALL_PROTOCOL, FEATURES } from "../devices/vhost_user/rig.ts";
import {
  flushRequest,
  type GuestRequest,
  ranges,
  readRequest,
  sendRequest,
  writeRequest,
} from "../support/blk_requests.ts";
import { pattern } from "../support/temp_file.ts";
import { type ClientQueue, SharedGuest, VhostClient } from "../support/vhost_client.ts";
import { VirtioDriver } from "../support/virtio_driver.ts";
import type { Findings } from "./scenario.ts";
import type { Verdict } from "./verdict.ts";

/** Bytes of the disk. */
const DISK_BYTES = 65_536;
const SECTOR_BYTES = 512;
/** Where the guest writes, in sectors. */
const WRITTEN_SECTOR = 64;
const WRITTEN_BYTES = 4096;
/** Longer than anything here takes. */
const PATIENCE_MS = 15_000;
/** Connections that a guest tries: the one that the fault ends, and the two of the scene. */
const MAX_LIVES = 3;
const WANTED_LIVES = 2;

/** Files of the scene in its folder. */
export function sceneFiles(folder: string): Readonly<Record<"disk" | "socket" | "finished", string>> {
  return { disk: join(folder, "disk.img"), socket: join(folder, "s"), finished: join(folder, "finished") };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The child's half: serves the disk until the guest has finished. `said` receives the server's words. */
export async function serveScene(
  folder: string,
  options: DeviceOptions,
  findings: Findings,
  said: string[],
): Promise<void> {
  const { disk, socket, finished } = sceneFiles(folder);
  await using stack = new AsyncDisposableStack();
  const endMs = performance.now() + PATIENCE_MS;
  const step = async <T>(name: string, action: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await action();
    } catch (error) {
      findings.failed(name, error);
      return null;
    }
  };
  stack.defer(async () => void await step("end of the queues", () => closeIdleQueues()));
  const device = await step("open", () => openDevice(disk, { drainMs: 1_000, batch: "plug", ...options }));
  if (device === null) return;
  stack.defer(async () => void await step("close of the disk", () => device.close()));
  const log = (line: string) => void said.push(line);
  const server = await step("serve", () => serveVhostUserBlk(device, socket, { queueCount: 2, log }));
  if (server === null) {
    if (exists(socket)) findings.wrong.push("The socket is there without a server");
    return;
  }
  stack.defer(async () => {
    await step("close of the server", () => server.close());
    if (exists(socket) && findings.errors.length === 0) {
      findings.wrong.push("The socket is still there after the end of the server");
    }
  });
  let served = true;
  server.served.then(() => served = false, () => served = false);
  while (served && !exists(finished) && performance.now() < endMs) await pause(2);
  if (!exists(finished)) findings.wrong.push(served ? "The guest did not finish" : "The server has ended by itself");
}

/** Lays the scene out. */
export function prepare(folder: string): void {
  const { disk, socket, finished } = sceneFiles(folder);
  Deno.writeFileSync(disk, pattern(0, DISK_BYTES));
  // A socket that could not be removed as well.
  for (const path of [socket, finished]) if (exists(path)) Deno.removeSync(path);
}

/** A connection that was lost, which one fault may bring about once. */
class Cut extends Error {}

/** The guest: two connections, requests, the end of the first and the server's end of the second. */
export class SceneGuest {
  /** What the guest saw fail. */
  readonly errors: string[] = [];
  readonly wrong: string[] = [];
  #cuts = 0;
  /** The byte that the disk has to have where the guest wrote, once it was told so. */
  #written: number | null = null;

  constructor(readonly folder: string) {}

  /** Plays the guest; `isOver` tells that the other half has ended. */
  async play(isOver: () => boolean): Promise<void> {
    const { finished } = sceneFiles(this.folder);
    let whole = 0;
    for (let life = 0; life < MAX_LIVES && whole < WANTED_LIVES; life++) {
      try {
        if (!await this.#live(isOver, whole === WANTED_LIVES - 1)) break;
        whole++;
      } catch (error) {
        if (!(error instanceof Cut)) this.wrong.push(`The guest met ${error instanceof Error ? error.stack : error}`);
        else this.errors.push(`connection ${life + 1}: ${error.message}`);
        this.#cuts++;
      }
    }
    if (whole < WANTED_LIVES && !isOver()) this.wrong.push("One fault has cost more than one connection");
    Deno.writeFileSync(finished, new Uint8Array());
  }

  /** The verdict of the other half, with what the guest saw and what the disk has to contain. */
  judge(verdict: Verdict, errno: number): Verdict {
    const { said } = verdict;
    const errors = [...verdict.errors, ...this.errors];
    const wrong = [...verdict.wrong, ...this.wrong];
    if (verdict.hits === 0 && errors.length > 0) wrong.push(`without a fault: ${errors.join("; ")}`);
    // What the guest sees of a connection is its end: the words are in the log. A request has its status.
    const named = [...verdict.errors, ...said].some((line) => line.includes(errnoName(errno)));
    if (this.#cuts > 0 && !named) wrong.push(`never named: ${[...errors, "log:", ...said].join("; ")}`);
    if (this.#written !== null) {
      const bytes = Deno.readFileSync(sceneFiles(this.folder).disk);
      const at = WRITTEN_SECTOR * SECTOR_BYTES;
      const written = this.#written;
      const same = bytes.subarray(at, at + WRITTEN_BYTES).every((byte) => byte === written);
      if (!same) wrong.push("wrong data: what the guest wrote is not on the disk");
    }
    return { ...verdict, errors, wrong };
  }

  /** One connection; false when there is no server. With `stays` the server ends it. */
  async #live(isOver: () => boolean, stays: boolean): Promise<boolean> {
    using client = await this.#connect(isOver);
    if (client === null) return false;
    using shared = new SharedGuest();
    const queue = await talk(async () => {
      await client.negotiate(FEATURES, ALL_PROTOCOL);
      await client.config();
      client.setMemory(shared);
      return client.startQueue(new VirtioDriver(shared.guest, 16));
    });
    await this.#requests(client, queue, shared);
    if (!stays) {
      // A front end that leaves in good order.
      await talk(() => client.ask("GET_VRING_BASE", new Uint8Array(8)));
      return true;
    }
    Deno.writeFileSync(sceneFiles(this.folder).finished, new Uint8Array());
    await talk(() => client.closed());
    return true;
  }

  async #connect(isOver: () => boolean): Promise<VhostClient | null> {
    const endMs = performance.now() + PATIENCE_MS;
    while (!isOver() && performance.now() < endMs) {
      try {
        return new VhostClient(sceneFiles(this.folder).socket);
      } catch {
        await pause(2);
      }
    }
    return null;
  }

  async #requests(client: VhostClient, queue: ClientQueue, { guest }: SharedGuest): Promise<void> {
    const data = new Uint8Array(WRITTEN_BYTES).fill(this.#written === null ? 0x11 : this.#written + 1);
    if (await this.#run(client, queue, "write", writeRequest(guest, WRITTEN_SECTOR, data))) this.#written = data[0]!;
    else this.#written = null;
    const back = readRequest(guest, WRITTEN_SECTOR, WRITTEN_BYTES);
    if (await this.#run(client, queue, "read", back) && this.#written !== null) {
      this.#compare(guest.at(back.data, WRITTEN_BYTES), data);
    }
    // Behind an odd byte: it has to be copied.
    guest.allocate(1, 1);
    const read = readRequest(guest, 8, 1024);
    const crooked = { ...read.buffers[1]!, address: guest.allocate(1025, 512) + 1 };
    const buffers = [read.buffers[0]!, crooked, read.buffers[2]!];
    if (await this.#run(client, queue, "copied read", { ...read, buffers })) {
      this.#compare(guest.at(crooked.address, 1024), pattern(8 * SECTOR_BYTES, 1024));
    }
    await this.#run(client, queue, "flush", flushRequest(guest));
    const zeroes = ranges([96, 8, 0]);
    await this.#run(client, queue, "zero", sendRequest(guest, B.VIRTIO_BLK_T_WRITE_ZEROES.value, 0, zeroes));
    await this.#run(client, queue, "discard", sendRequest(guest, B.VIRTIO_BLK_T_DISCARD.value, 0, ranges([112, 8, 0])));
  }

  /** Runs a request; false when it was answered with an error, which was noted. */
  async #run(client: VhostClient, queue: ClientQueue, name: string, request: GuestRequest): Promise<boolean> {
    const head = client.submit(queue, request);
    const endMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const answers = queue.driver.reap();
      if (answers.length > 1 || answers.some((each) => each.head !== head)) {
        this.wrong.push(`The ${name} was answered by ${answers.length} answers`);
      }
      if (answers.length > 0) break;
      if (hasHungUp(client.fd)) throw new Cut(`it ended during the ${name}`);
      if (performance.now() > endMs) throw new Cut(`no answer to the ${name}`);
      await pause(0);
    }
    const status = queue.driver.guest.at(request.status, 1)[0]!;
    if (status === BlkStatus.ok) return true;
    this.errors.push(`${name}: status ${status}`);
    return false;
  }

  #compare(found: Uint8Array, wanted: Uint8Array): void {
    if (!found.every((byte, index) => byte === wanted[index])) this.wrong.push("wrong data: a guest's read");
  }
}

/** Says something to the server; what goes wrong in it is a connection that was lost. */
async function talk<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new Cut((error as Error).message);
  }
}
