/**
 * A small program over two files, as the campaign runs it: every kind of call of a driver once or a few times. Whatever
 * fails in it is noted, and what the files may contain afterwards is known.
 *
 * @module
 */
import { type BlockDevice, closeIdleQueues, type DeviceOptions, openDevice, plug, StorageError } from "../../mod.ts";
import type { Fault } from "./controls.ts";
import { FORWARDED } from "./forwarder.ts";
import { errnoName } from "../../core/base/errno.ts";

/** Bytes of a block, the unit of everything here. */
export const BLOCK_BYTES = 4096;
const BLOCKS = 16;
/** Time in which nothing is still in flight, and more than the I/O of this program takes. */
const DRAIN_MS = 1_000;
/** A callback that has not come by then does not come. */
const CALLBACK_MS = 4_000;

/** Two files and how they are opened. */
export interface Stage {
  readonly targets: readonly [string, string];
  /** The files behind the targets. */
  readonly files: readonly [string, string];
  readonly options: DeviceOptions;
}

/** Collects what is wrong with a run, and the errors that are as they should be. */
export class Findings {
  /** One line for each thing that must not be. */
  readonly wrong: string[] = [];
  /** Errors that were reported as they should be. */
  readonly errors: string[] = [];
  /** Lines of the server's log. */
  readonly said: string[] = [];
  readonly #fault: Fault | null;
  readonly #errnoName: string;

  /** `fault` is the call that fails, null where everything has to work. */
  constructor(fault: Fault | null) {
    this.#fault = fault;
    this.#errnoName = fault === null ? "" : errnoName(fault.errno);
  }

  /** Notes an error of `action`: fine if it is one clear line, wrong otherwise. */
  failed(action: string, error: unknown, harmless: readonly string[] = []): void {
    if (error instanceof StorageError && harmless.includes(error.kind)) return;
    const text = error instanceof Error ? error.message : String(error);
    if (this.#fault === null) this.wrong.push(`${action} without a fault: ${text}`);
    else if (!(error instanceof StorageError)) this.wrong.push(`${action} with an error of another kind: ${error}`);
    else if (text.includes("\n")) this.wrong.push(`${action} with more than a line: ${text}`);
    else if (!this.#names(error)) this.wrong.push(`${action} without naming ${this.#errnoName}: ${text}`);
    else this.errors.push(`${action}: ${text}`);
  }

  #names(error: StorageError): boolean {
    const { failing } = FORWARDED.find(({ name }) => name === this.#fault?.symbol)!;
    if (failing === "null" || failing === "minus one") return true;
    for (let each: unknown = error; each instanceof Error; each = each.cause) {
      if (each.message.includes(this.#errnoName)) return true;
    }
    return false;
  }
}

/** What each block of a file may contain: the byte that it is filled with. */
class Model {
  readonly #allowed: Set<number>[];

  constructor(readonly seed: number) {
    this.#allowed = Array.from({ length: BLOCKS }, (_, block) => new Set([this.fill(block)]));
  }

  fill(block: number, version = 0): number {
    return (this.seed * 101 + block * 7 + version * 53 + 1) & 0xff;
  }

  /** A write was tried; when it `worked`, only the new content may be there. */
  wrote(block: number, byte: number, worked: boolean): void {
    if (worked) this.#allowed[block] = new Set([byte]);
    else this.#allowed[block]!.add(byte);
  }

  /** Why `bytes` cannot be what block `block` contains, or null. */
  fault(block: number, bytes: Uint8Array): string | null {
    const byte = bytes[0]!;
    if (this.#allowed[block]!.has(byte) && bytes.every((each) => each === byte)) return null;
    return `block ${block} reads ${byte}, wanted ${[...this.#allowed[block]!].join(" or ")}`;
  }

  /** The file at the start. */
  content(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(BLOCKS * BLOCK_BYTES);
    for (let block = 0; block < BLOCKS; block++) bytes.fill(this.fill(block), at(block), at(block + 1));
    return bytes;
  }
}

const at = (block: number) => block * BLOCK_BYTES;

/** One open device, its model and its findings. */
class Actor {
  constructor(readonly device: BlockDevice, readonly model: Model, readonly findings: Findings) {}

  /** Runs `action`; false when it failed, which was noted. */
  async try(name: string, action: () => Promise<unknown>, harmless?: readonly string[]): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      this.findings.failed(name, error, harmless);
      return false;
    }
  }

  async read(block: number, buffer: Uint8Array, harmless?: readonly string[], options = {}): Promise<void> {
    buffer.fill(0xee);
    const read = async () => {
      const byteLength = await this.device.read(buffer, at(block), options);
      if (byteLength !== buffer.length) this.findings.wrong.push(`A read of block ${block} gave ${byteLength} bytes`);
    };
    if (await this.try(`read of block ${block}`, read, harmless)) this.check(block, buffer);
  }

  async write(block: number, buffer: Uint8Array, version: number): Promise<void> {
    const byte = this.model.fill(block, version);
    buffer.fill(byte);
    const worked = await this.try(`write of block ${block}`, () => this.device.write(buffer, at(block)));
    this.model.wrote(block, byte, worked);
  }

  check(block: number, bytes: Uint8Array): void {
    const fault = this.model.fault(block, bytes);
    if (fault !== null) this.findings.wrong.push(`wrong data: ${fault}`);
  }
}

/** Opens both, does everything, closes both. Notes what fails; rejects never. */
export async function playScene(stage: Stage, findings: Findings): Promise<void> {
  const models = [new Model(1), new Model(2)] as const;
  stage.files.forEach((file, index) => Deno.writeFileSync(file, models[index]!.content()));
  const actors: Actor[] = [];
  for (const [index, target] of stage.targets.entries()) {
    try {
      const device = await openDevice(target, { drainMs: DRAIN_MS, queueDepth: 32, ...stage.options });
      actors.push(new Actor(device, models[index]!, findings));
    } catch (error) {
      findings.failed(`open of ${index === 0 ? "the first" : "the second"}`, error);
    }
  }
  try {
    if (actors.length === 2) await play(actors as [Actor, Actor]);
  } catch (error) {
    findings.wrong.push(`An error that is none of a request: ${error instanceof Error ? error.stack : error}`);
  }
  for (const actor of actors) await actor.try("close", () => actor.device.close());
  try {
    await closeIdleQueues();
  } catch (error) {
    findings.failed("end of the queues", error);
  }
  // What was said to be written is there, by whichever name.
  stage.files.forEach((file, index) => {
    const bytes = Deno.readFileSync(file);
    for (let block = 0; block < BLOCKS; block++) {
      const fault = models[index]!.fault(block, bytes.subarray(at(block), at(block + 1)));
      if (fault !== null) findings.wrong.push(`wrong data in file ${index}: ${fault}`);
    }
  });
}

async function play(actors: readonly [Actor, Actor]): Promise<void> {
  const [first, second] = actors;
  const own: Uint8Array<ArrayBuffer>[][] = [];
  for (const actor of actors) {
    await actor.try("allocate", () => Promise.resolve(own.push(actor.device.allocate(8, BLOCK_BYTES))));
  }
  const [buffers, others] = own;
  if (buffers === undefined || others === undefined) return;
  await plugged(first, second, buffers, others);
  await first.read(3, new Uint8Array(BLOCK_BYTES));
  await second.write(3, new Uint8Array(BLOCK_BYTES), 1);
  await vectors(first, buffers);
  await callbacks(first, buffers);
  await ranges(second, others);
  await endings(first, buffers);
  await first.try("size", () => Promise.resolve(first.device.size));
  // What a broken device keeps for the kernel is not to be released.
  if (first.device.broken) return;
  await first.try("release", () => Promise.resolve(first.device.release(buffers)));
}

/** One section over two devices. */
async function plugged(first: Actor, second: Actor, buffers: Uint8Array[], others: Uint8Array[]): Promise<void> {
  const steps: Promise<void>[] = [];
  try {
    using _section = plug();
    for (let block = 0; block < 4; block++) steps.push(first.read(block, buffers[block]!));
    for (let block = 0; block < 3; block++) steps.push(second.read(block, others[block]!));
    steps.push(first.write(5, buffers[5]!, 1), second.write(5, others[5]!, 1));
  } catch (error) {
    first.findings.failed("a plugged section", error);
  }
  await Promise.all(steps);
  await first.read(5, buffers[5]!);
}

async function vectors(actor: Actor, buffers: Uint8Array[]): Promise<void> {
  const { device, model } = actor;
  const [left, right] = [buffers[0]!, buffers[2]!];
  left.fill(model.fill(6, 2));
  right.fill(model.fill(7, 2));
  const wrote = await actor.try("writev", () => device.writev([left, right], at(6)));
  for (const block of [6, 7]) model.wrote(block, model.fill(block, 2), wrote);
  if (!await actor.try("readv", () => device.readv([left, right], at(6)))) return;
  actor.check(6, left);
  actor.check(7, right);
}

/** The callback API: each completion once, and the promise API after it. */
async function callbacks(actor: Actor, buffers: Uint8Array[]): Promise<void> {
  const { device, findings } = actor;
  const results: number[][] = [[], [], []];
  let left = results.length;
  const all = Promise.withResolvers<void>();
  try {
    const requests = results.map((own, index) => {
      const onComplete = (_request: unknown, result: number) => {
        own.push(result);
        if (--left === 0) all.resolve();
      };
      return device.createRequest({ op: "read", buffer: buffers[index]!, offset: at(8 + index), onComplete });
    });
    for (const request of requests) device.submit(request);
    // The last one is given up at once, and is answered like the others.
    device.cancel(requests[2]!);
    device.run(() => left === 0);
  } catch (error) {
    findings.failed("run", error);
  }
  const timer = setTimeout(() => all.resolve(), CALLBACK_MS);
  await all.promise;
  clearTimeout(timer);
  results.forEach((own, index) => {
    if (own.length !== 1) findings.wrong.push(`A request has completed ${own.length} times`);
    else if (own[0]! >= 0) actor.check(8 + index, buffers[index]!);
    else if (index < 2 || own[0] !== -CANCELLED) noteResult(findings, own[0]!);
  });
}

/** ECANCELED. */
const CANCELLED = 125;

function noteResult(findings: Findings, result: number): void {
  const error = new StorageError({ kind: "io", op: "read", target: "by callback", errno: -result });
  findings.failed("a request of the callback API", error);
}

async function ranges(actor: Actor, buffers: Uint8Array[]): Promise<void> {
  const { device, model } = actor;
  await actor.try("flush", () => device.flush());
  const zeroed = await actor.try("write zeroes", () => device.writeZeroes(at(10), BLOCK_BYTES), ["unsupported"]);
  model.wrote(10, 0, zeroed);
  await actor.read(10, buffers[0]!);
  // What a discarded range reads is not defined.
  await actor.try("discard", () => device.discard(at(11), BLOCK_BYTES), ["unsupported"]);
  model.wrote(11, 0, false);
  await actor.read(11, buffers[1]!);
  await actor.try("nop", () => device.nop());
}

/** Requests that are given up by a signal and by time. */
async function endings(actor: Actor, buffers: Uint8Array[]): Promise<void> {
  const abort = new AbortController();
  const reads = [
    actor.read(12, buffers[0]!, ["aborted"], { signal: abort.signal }),
    actor.read(13, buffers[1]!, ["timeout"], { timeoutMs: 1 }),
    actor.read(14, new Uint8Array(BLOCK_BYTES), ["aborted"], { signal: abort.signal }),
    actor.read(15, buffers[3]!, ["timeout"], { timeoutMs: CALLBACK_MS }),
  ];
  await Promise.resolve();
  abort.abort();
  await Promise.all(reads);
}
