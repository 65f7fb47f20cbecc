import type { ExportFacts } from "../../core/nbd/handshake.ts";
import { Errno } from "../../core/base/errno.ts";
import { pause } from "../../core/base/pause.ts";
import { closeSocket, pollNow, pollSoon } from "../../ffi/stream_socket.ts";
import { ConnectionLost } from "./connection.ts";
import { type Dial, dial, type Dialled, type DialWait, slowServer } from "./dial.ts";
import type { Redialler } from "./engine.ts";

/** Milliseconds between attempts: at first, and at most. */
const FIRST_BACK_OFF_MS = 10;
const MAX_BACK_OFF_MS = 1_000;

/** Milliseconds of one wait for a socket, after which the time is looked at. */
const MAX_POLL_MS = 100;

/** What is told of how it has come out. */
interface ReconnectHost {
  resume(dialled: readonly Dialled[]): void;
  fail(error: ConnectionLost): void;
}

/** How connections are made anew. */
interface ReconnectOptions {
  readonly request: Dial;
  readonly connections: number;
  readonly reconnectMs: number;
  readonly handshakeTimeoutMs: number;
  /** What the export was: a server with another one is not gone on with. */
  readonly facts: ExportFacts;
}

/**
 * Makes lost connections anew, with a back-off between attempts, until it succeeds, the time is up, or the server has another
 * disk. It goes on by itself in the event loop, or on a thread that blocks when that asks it to.
 */
export class Reconnect implements Redialler {
  readonly reconnectMs: number;
  readonly #host: ReconnectHost;
  readonly #options: ReconnectOptions;
  #dialling: Generator<DialWait, Dialled[], void> | null = null;
  #wait: DialWait | null = null;
  #active = false;
  /** Ends a wait for the next attempt. */
  #endDelay: (() => void) | null = null;
  /** Resolves when nothing goes on by itself any more; null while that is so. */
  #running: Promise<void> | null = null;
  #deadlineMs = 0;
  #attemptEndMs = 0;
  #nextMs = 0;
  #backOffMs = FIRST_BACK_OFF_MS;
  #lastError: unknown = null;

  /** Makes connections for `host`. */
  constructor(host: ReconnectHost, options: ReconnectOptions) {
    this.#host = host;
    this.#options = options;
    this.reconnectMs = options.reconnectMs;
  }

  begin(): void {
    const nowMs = performance.now();
    this.#active = true;
    this.#deadlineMs = nowMs + this.reconnectMs;
    this.#nextMs = nowMs;
    this.#backOffMs = FIRST_BACK_OFF_MS;
    this.#running ??= this.#run();
  }

  advance(waitMs: number): void {
    if (!this.#active) return;
    if (this.#wait !== null) pollNow(this.#wait.fd, this.#wait.events, Math.min(waitMs, MAX_POLL_MS));
    else if (waitMs > 0) pause(Math.min(waitMs, Math.max(0, this.#nextMs - performance.now())));
    this.#step();
  }

  /** Gives up what is under way, and tells no more; resolves when nothing goes on. */
  async stop(): Promise<void> {
    this.#end();
    await this.#running;
  }

  #end(): void {
    this.#active = false;
    this.#endDelay?.();
    this.#endAttempt();
  }

  /** The way in the event loop: waits on another thread and by timers, which do not hold the process open. */
  async #run(): Promise<void> {
    while (this.#active) {
      if (this.#wait !== null) await pollSoon(this.#wait.fd, this.#wait.events, MAX_POLL_MS);
      else await this.#delay(Math.max(0, this.#nextMs - performance.now()));
      if (this.#active) this.#step();
    }
    this.#running = null;
  }

  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      Deno.unrefTimer(timer);
      this.#endDelay = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #step(): void {
    const nowMs = performance.now();
    if (nowMs >= this.#deadlineMs) return this.#giveUp(`there was no connection for ${this.reconnectMs} ms`);
    if (this.#dialling === null) {
      if (nowMs < this.#nextMs) return;
      this.#dialling = dialAll(this.#options);
      this.#attemptEndMs = nowMs + this.#options.handshakeTimeoutMs;
    }
    try {
      if (nowMs >= this.#attemptEndMs) throw slowServer(this.#options.request.target, this.#options.handshakeTimeoutMs);
      const { done, value } = this.#dialling.next();
      if (!done) return void (this.#wait = value);
      this.#dialling = null;
      this.#endAttempt();
      this.#finish(value);
    } catch (error) {
      this.#lastError = error;
      this.#endAttempt();
      this.#nextMs = nowMs + this.#backOffMs;
      this.#backOffMs = Math.min(2 * this.#backOffMs, MAX_BACK_OFF_MS);
    }
  }

  #finish(dialled: readonly Dialled[]): void {
    const change = dialled.map(({ facts }) => changeOf(this.#options.facts, facts)).find((each) => each !== null);
    if (change === undefined) {
      this.#active = false;
      return this.#host.resume(dialled);
    }
    for (const { fd } of dialled) closeSocket(fd);
    this.#giveUp(`the server came back with another disk: ${change}`);
  }

  #endAttempt(): void {
    this.#dialling?.return([]);
    this.#dialling = null;
    this.#wait = null;
  }

  #giveUp(message: string): void {
    this.#end();
    this.#host.fail(new ConnectionLost(`the connection was lost, and ${message}`, Errno.ENOTCONN, this.#lastError));
  }
}

/** Dials as many times as there are to be connections; all of them or none. */
function* dialAll({ request, connections }: ReconnectOptions): Generator<DialWait, Dialled[], void> {
  const dialled: Dialled[] = [];
  let complete = false;
  try {
    while (dialled.length < connections) dialled.push(yield* dial(request));
    complete = true;
    return dialled;
  } finally {
    if (!complete) { for (const { fd } of dialled) closeSocket(fd); }
  }
}

/** What is another than before, or null. */
function changeOf(before: ExportFacts, now: ExportFacts): string | null {
  const names = ["sizeBytes", "flags", "minimumBlockBytes", "structuredReplies", "extendedHeaders"] as const;
  const changed = names.find((name) => before[name] !== now[name]);
  return changed === undefined ? null : `${changed} was ${before[changed]}, and is ${now[changed]}`;
}
