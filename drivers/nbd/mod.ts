import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import type { Backend, OpenOptions } from "../../core/device/backend.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { QueueDevice } from "../../core/device/queue_device.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { DEFAULT_QUEUE_DEPTH } from "../../core/base/limits.ts";
import { tearDown } from "../../core/base/teardown.ts";
import type { ExportFacts } from "../../core/nbd/handshake.ts";
import { ExportFlag } from "../../core/nbd/protocol.ts";
import { CompletionLoop } from "../../core/queue/completion_loop.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { SocketWatch } from "../../ffi/socket_watch.ts";
import { closeSocket } from "../../ffi/stream_socket.ts";
import { parseNbdAddress } from "./address.ts";
import { ConnectionLost } from "./connection.ts";
import { type Dial, type Dialled, dialSoon } from "./dial.ts";
import { NbdEngine } from "./engine.ts";
import { type CheckedNbdSettings, checkNbdSettings, type NbdOpenOptions } from "./options.ts";
import { addressesOf, refuseTls } from "./place.ts";
import { Reconnect } from "./reconnect.ts";
import { NBD_EVENTS } from "./trace.ts";
import { commandMaxBytes } from "./wire.ts";

/** Opens the export that an NBD URI names. Rejects with StorageError or RangeError; nothing is open then. */
export async function openNbd(target: string, options: NbdOpenOptions): Promise<Backend> {
  const address = parseNbdAddress(target);
  const settings = checkNbdSettings(options.nbd);
  refuseTls(target, address);
  checkOptions(target, options);
  const request: Dial = {
    addresses: await addressesOf(address),
    wish: { exportName: address.exportName, ...settings },
    target,
  };
  const first = await dialSoon(request, settings.handshakeTimeoutMs);
  const dialled = [first];
  try {
    checkExport(target, first.facts, options);
    const count = connectionCount(first.facts, settings);
    while (dialled.length < count) dialled.push(await dialSoon(request, settings.handshakeTimeoutMs));
    return new NbdDevice(request, dialled, settings, options);
  } catch (error) {
    for (const { fd } of dialled) closeSocket(fd);
    throw error;
  }
}

function checkOptions(target: string, { create, truncate }: OpenOptions): void {
  if (create !== true && truncate !== true) return;
  const detail = "an export is neither created nor emptied by opening it; wanted no create, no truncate";
  throw new StorageError({ kind: "unsupported", op: "open", target, detail });
}

function checkExport(target: string, { flags }: ExportFacts, { readOnly = false }: OpenOptions): void {
  if ((flags & ExportFlag.readOnly) === 0 || readOnly) return;
  const detail = "the export is read-only; wanted readOnly: true";
  throw new StorageError({ kind: "open", op: "open", target, errno: Errno.EROFS, detail });
}

function connectionCount({ flags }: ExportFacts, { connections }: CheckedNbdSettings): number {
  return (flags & ExportFlag.multiConn) !== 0 ? connections : 1;
}

/** What a user of the export should know. */
function notesOf(
  { flags, sizeBytes, minimumBlockBytes, ...facts }: ExportFacts,
  settings: CheckedNbdSettings,
): string[] {
  const has = (flag: number) => (flags & flag) !== 0;
  const notes: string[] = [];
  if (settings.connections > 1 && !has(ExportFlag.multiConn)) {
    notes.push("The server lets one connection work on the disk (no MULTI_CONN): the others are not made");
  }
  if (!has(ExportFlag.sendFlush) && !has(ExportFlag.readOnly)) {
    notes.push("The server has no flush: nothing can be made durable, and flush and fua are refused");
  }
  if (settings.extendedHeaders && !facts.extendedHeaders) notes.push("The server has no extended headers");
  if (settings.structuredReplies && !facts.structuredReplies) notes.push("The server has no structured replies");
  const hidden = sizeBytes % minimumBlockBytes;
  if (hidden > 0) {
    notes.push(`The last ${hidden} bytes are no whole block of ${minimumBlockBytes} bytes, and not reached`);
  }
  return notes;
}

/** One open export. */
class NbdDevice extends QueueDevice {
  readonly driver = "nbd";
  protected readonly kernelQueue = "connection";
  readonly #engine: NbdEngine;
  readonly #watch: SocketWatch;
  readonly #reconnect: Reconnect;
  readonly #sizeBytes: number;

  constructor(request: Dial, dialled: readonly Dialled[], settings: CheckedNbdSettings, options: NbdOpenOptions) {
    const { wait = "event", queueDepth = DEFAULT_QUEUE_DEPTH, readOnly = false } = options;
    const { facts } = dialled[0]!;
    const { minimumBlockBytes } = facts;
    let onWake = () => {};
    const watch = new SocketWatch(() => onWake());
    const engine = new NbdEngine({ watch, facts, looks: wait === "poll" });
    const queue = new RequestQueue(engine, {
      maxInflight: queueDepth,
      events: NBD_EVENTS,
      lazy: wait === "block",
      // The server has to run first.
      answersInSubmit: false,
    });
    const completionLoop = new CompletionLoop(queue, wait, watch);
    queue.observe(completionLoop);
    const sizeBytes = facts.sizeBytes - facts.sizeBytes % minimumBlockBytes;
    super({
      target: request.target,
      info: {
        kind: "remote",
        blockSize: Math.max(SECTOR_BYTES, minimumBlockBytes),
        alignment: { memory: 1, offset: minimumBlockBytes },
        readOnly,
        direct: options.direct ?? false,
      },
      queue,
      completionLoop,
      completionFd: wait === "event" ? watch.fd : -1,
      registrar: queue,
      memory: pageMemory,
      bounce: new BouncePool({ source: pageMemory }),
      attemptLimits: { sizeBytes, maxBytes: commandMaxBytes(facts) },
    }, options);
    this.#engine = engine;
    this.#watch = watch;
    this.#sizeBytes = sizeBytes;
    this.noted.push(...notesOf(facts, settings));
    const { reconnectMs, handshakeTimeoutMs } = settings;
    const connections = dialled.length;
    this.#reconnect = new Reconnect(engine, { request, connections, reconnectMs, handshakeTimeoutMs, facts });
    engine.redialler = this.#reconnect;
    onWake = () => {
      queue.stats.wakeups++;
      engine.woken();
      completionLoop.woken();
    };
    engine.use(dialled);
    // The server may go while nothing is in flight: that is seen at once, too.
    watch.arm();
    if (NBD_EVENTS.initState.hasSubscribers) NBD_EVENTS.initState.publish({ connections, ...facts });
  }

  explain(): { readonly detail: string; readonly cause?: unknown } | undefined {
    const { failure } = this.#engine;
    if (failure === null || !this.broken) return undefined;
    return { detail: failure.message, ...failure.cause === undefined ? {} : { cause: failure.cause } };
  }

  size(): number {
    return this.#sizeBytes;
  }

  resize(): void {
    const detail = "the protocol cannot resize an export; wanted a regular file";
    throw new StorageError({ kind: "unsupported", op: "resize", target: this.target, detail });
  }

  /** A server knows no registered memory. */
  register(): void {}

  unregister(): void {}

  /** Without its connection nothing reaches memory any more: what the server does not answer ends then. */
  protected override async quiesce(drainMs: number): Promise<boolean> {
    if (await super.quiesce(drainMs)) return true;
    const message = `${this.active} requests were in flight ${drainMs} ms after close`;
    await this.#reconnect.stop();
    this.#engine.fail(new ConnectionLost(message, Errno.ENOTCONN));
    return await super.quiesce(Infinity);
  }

  protected async release(): Promise<void> {
    await this.#reconnect.stop();
    this.queue.stop();
    this.completionLoop.stop();
    tearDown(
      () => this.#engine.close(),
      () => this.bounce.dispose(),
      () => this.#watch[Symbol.dispose](),
    );
    if (NBD_EVENTS.cleanupState.hasSubscribers) NBD_EVENTS.cleanupState.publish({});
  }

  /** Nothing is ever left behind: see `quiesce`. */
  protected leak(): void {}
}
