import type { PlugAnswer, PlugCommand } from "./plug_worker.ts";

/** The test's end of plug_worker.ts. Disposing of it terminates the Worker. */
export class PlugWorker implements Disposable {
  readonly #worker = new Worker(new URL("./plug_worker.ts", import.meta.url), { type: "module" });
  readonly #ran = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);

  /** Starts the Worker and waits until it answers. */
  static async start(): Promise<PlugWorker> {
    const client = new PlugWorker();
    await client.#send({ op: "setup", ran: client.#ran });
    return client;
  }

  /** Sends one command and waits for the answer. */
  do(op: "plug" | "call" | "unplug" | "close"): Promise<PlugAnswer> {
    return this.#send({ op });
  }

  /** How often the Worker's call ran; also valid after the Worker's end. */
  ranCount(): number {
    return Atomics.load(new Int32Array(this.#ran), 0);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }

  #send(command: PlugCommand): Promise<PlugAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<PlugAnswer>();
    this.#worker.onmessage = (event: MessageEvent<PlugAnswer>) => resolve(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    this.#worker.postMessage(command);
    return promise;
  }
}
