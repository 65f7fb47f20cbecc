import type { Handshake } from "./handshake.ts";

/**
 * Runs a handshake on bytes as a socket has them: cut anywhere, and with more behind its end. Its driver sends
 * `output`, feeds what comes, and goes on with `rest` when there is a `result`.
 */
export class HandshakeRunner<Result> {
  readonly #handshake: Handshake<Result>;
  readonly #output: Uint8Array<ArrayBuffer>[] = [];
  #input = new Uint8Array(0);
  #need = 0;
  #result: { readonly value: Result } | null = null;

  /** Starts `handshake`, up to where it needs the first bytes. */
  constructor(handshake: Handshake<Result>) {
    this.#handshake = handshake;
    this.#advance();
  }

  /** What came out, or null while it goes on. */
  get result(): { readonly value: Result } | null {
    return this.#result;
  }

  /** Bytes that it needs to go on, those that are there already left out; 0 at the end. */
  get missingBytes(): number {
    return this.#result === null ? this.#need - this.#input.length : 0;
  }

  /** Bytes behind the end of the handshake. */
  get rest(): Uint8Array {
    return this.#input;
  }

  /** The next bytes to send, or null. */
  takeOutput(): Uint8Array<ArrayBuffer> | null {
    return this.#output.shift() ?? null;
  }

  /** Takes bytes in. Throws what the handshake throws. */
  feed(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#input.length + bytes.length);
    joined.set(this.#input);
    joined.set(bytes, this.#input.length);
    this.#input = joined;
    this.#advance();
  }

  #advance(): void {
    while (this.#result === null && this.#input.length >= this.#need) {
      const given = this.#input.subarray(0, this.#need);
      this.#input = this.#input.slice(this.#need);
      const { done, value } = this.#handshake.next(given);
      if (done) {
        this.#result = { value };
        return;
      }
      if (value.send !== null) this.#output.push(value.send);
      this.#need = value.need;
    }
  }
}
