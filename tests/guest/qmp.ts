/**
 * The control channel of a running QEMU, on its standard input and output: JSON messages, one a line.
 *
 * The protocol is described in QEMU's docs/interop/qmp-spec.
 *
 * @module
 */

/** What QEMU says by itself: `DEVICE_DELETED`, `STOP`, ... */
export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

type Answer = { readonly return?: unknown; readonly error?: { readonly class: string; readonly desc: string } };
type Waiter = { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void };

/** Sends commands and awaits their answers and events. */
export class Qmp {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #answers: Waiter[] = [];
  readonly #events: QmpEvent[] = [];
  readonly #eventWaiters = new Set<{ readonly name: string } & Waiter>();
  /** Why no more can be said, once QEMU is gone. */
  #gone: Error | undefined;
  /** Resolves when QEMU takes commands, rejects when it did not start. */
  readonly ready: Promise<void>;
  /** Settles when QEMU closed the channel. */
  readonly closed: Promise<void>;

  constructor(stdin: WritableStream<Uint8Array>, stdout: ReadableStream<Uint8Array>) {
    this.#writer = stdin.getWriter();
    this.closed = this.#read(stdout);
    // Commands are taken only after this one.
    this.ready = this.execute<void>("qmp_capabilities");
    // A caller that does not wait for it learns elsewhere that QEMU did not start.
    this.ready.catch(() => {});
  }

  /** Runs a command; rejects with QEMU's own words where it refuses. */
  execute<T = unknown>(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<T> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    const answer = new Promise<T>((resolve, reject) => this.#answers.push({ resolve: resolve as never, reject }));
    const line = JSON.stringify({ execute: command, arguments: args }) + "\n";
    // A QEMU that is gone is told by the end of its output.
    this.#writer.write(new TextEncoder().encode(line)).catch(() => {});
    return answer.catch((error: Error) => {
      throw new Error(`Cannot ${command}: ${error.message}`);
    });
  }

  /** Resolves at the first event of this name since the start, or since the last that was awaited. */
  event(name: string): Promise<QmpEvent> {
    const at = this.#events.findIndex(({ event }) => event === name);
    if (at >= 0) return Promise.resolve(this.#events.splice(at, 1)[0]!);
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    return new Promise((resolve, reject) => this.#eventWaiters.add({ name, resolve: resolve as never, reject }));
  }

  async #read(stdout: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    for await (const text of stdout.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") this.#take(JSON.parse(line));
    }
    this.#gone = new Error("expected a running QEMU, but it ended");
    for (const { reject } of [...this.#answers, ...this.#eventWaiters]) reject(this.#gone);
    await this.#writer.close().catch(() => {});
  }

  #take(message: Answer & Partial<QmpEvent>): void {
    if (message.event !== undefined) {
      const event = { event: message.event, data: message.data ?? {} };
      const waiter = [...this.#eventWaiters].find(({ name }) => name === event.event);
      if (waiter === undefined) return void this.#events.push(event);
      this.#eventWaiters.delete(waiter);
      waiter.resolve(event as never);
    } else if (message.error !== undefined) {
      this.#answers.shift()?.reject(new Error(message.error.desc));
    } else if ("return" in message) {
      this.#answers.shift()?.resolve(message.return as never);
    }
  }
}
