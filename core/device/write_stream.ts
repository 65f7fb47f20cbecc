import { FLAG, integer, OptionTable } from "../base/options.ts";
import { MAX_OFFSET_BYTES } from "../base/limits.ts";
import { StorageError } from "../base/errors.ts";
import { shown } from "../base/shown.ts";
import { isBytes, isGone, lengthOf, partOf } from "../base/views.ts";
import { checkedChunk, CHUNK_RULE, DEFAULT_STREAM_DEPTH, DEPTH_RULE, type StreamDevice } from "./stream_device.ts";

/** Options of {@link BlockDevice.writable}. */
export interface WritableOptions {
  /** Where the first byte goes. Default 0. */
  readonly start?: number;
  /** Bytes of one write, a multiple of the device's alignment: smaller chunks are put together. Default 256 KiB. */
  readonly chunkSize?: number;
  /** Writes that are in flight behind the writer, 1 to 1024. Default 4. */
  readonly depth?: number;
  /** Flush when the stream is closed: then what was written is durable. Default false. */
  readonly flush?: boolean;
}

const OPTIONS = new OptionTable<WritableOptions>("write a stream with", {
  start: integer(0, MAX_OFFSET_BYTES, "an integer from 0 to 2^53 − 1"),
  chunkSize: CHUNK_RULE,
  depth: DEPTH_RULE,
  flush: FLAG,
});

/** Takes bytes in order, with writes behind: what stands behind {@link BlockDevice.writable}. */
export function writableOf(device: StreamDevice, options: WritableOptions | undefined): WritableStream<Uint8Array> {
  const { start = 0, chunkSize, depth = DEFAULT_STREAM_DEPTH, flush = false } = OPTIONS.read(options);
  if (device.info.readOnly) {
    const detail = "the device is open read-only; wanted readOnly: false";
    throw new StorageError({ kind: "unsupported", op: "write a stream to", target: device.target, detail });
  }
  const chunkBytes = checkedChunk(device, chunkSize, "write");
  return new WritableStream<Uint8Array>(new WriteSink(device, start, chunkBytes, depth, flush), { highWaterMark: 1 });
}

/**
 * Collects bytes in buffers of the device, each written when it is full while the next one is filled. The first and the
 * last block of a device with an alignment may be covered in part: they are read first and written whole.
 */
class WriteSink implements UnderlyingSink<Uint8Array> {
  readonly #device: StreamDevice;
  readonly #alignBytes: number;
  readonly #chunkBytes: number;
  readonly #flush: boolean;
  /** Buffers without a write. */
  readonly #free: Uint8Array<ArrayBuffer>[];
  readonly #memory: readonly Uint8Array<ArrayBuffer>[];
  readonly #inFlight = new Set<Promise<void>>();
  readonly #sizeBytes: number;
  /** The buffer that is being filled, where it goes, and the part of it that counts. */
  #buffer: Uint8Array<ArrayBuffer> | null = null;
  #offsetBytes: number;
  #fromBytes: number;
  #toBytes: number;
  #failure: { readonly error: unknown } | null = null;

  constructor(device: StreamDevice, startBytes: number, chunkBytes: number, depth: number, flush: boolean) {
    this.#device = device;
    this.#alignBytes = device.alignment.offset;
    this.#chunkBytes = chunkBytes;
    this.#flush = flush;
    this.#sizeBytes = device.size;
    this.#memory = device.allocate(depth + 1, chunkBytes);
    this.#free = [...this.#memory];
    this.#fromBytes = this.#toBytes = startBytes % this.#alignBytes;
    this.#offsetBytes = startBytes - this.#fromBytes;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (!isBytes(chunk)) {
      this.#release();
      throw new TypeError(`Cannot write ${shown(chunk)} to a stream: wanted a Uint8Array`);
    }
    if (isGone(chunk)) {
      this.#release();
      throw new TypeError("Cannot write a chunk to a stream: its memory is gone, wanted one that has its memory");
    }
    const length = lengthOf(chunk);
    for (let at = 0; at < length;) {
      this.#throwFailure();
      const buffer = this.#buffer ??= await this.#nextBuffer();
      this.#assertOpen();
      const room = Math.min(this.#chunkBytes - this.#toBytes, length - at);
      buffer.set(partOf(chunk, at, room), this.#toBytes);
      this.#toBytes += room;
      at += room;
      if (this.#toBytes === this.#chunkBytes) this.#send(buffer);
    }
  }

  async close(): Promise<void> {
    try {
      this.#assertOpen();
      if (this.#buffer !== null) await this.#sendLast(this.#buffer);
      await this.#drained();
      this.#throwFailure();
      if (this.#flush) await this.#device.flush();
    } finally {
      await this.#drained();
      this.#release();
    }
  }

  async abort(): Promise<void> {
    await this.#drained();
    this.#release();
  }

  /** A device that is closed has taken its memory back, with what was not written yet. */
  #assertOpen(): void {
    if (!isGone(this.#memory[0]!)) return;
    const detail = "BlockDevice is closed; wanted an open device";
    throw new StorageError({ kind: "closed", op: "write a stream to", target: this.#device.target, detail });
  }

  /** A buffer to fill; waits for the oldest write where all are in flight. */
  async #nextBuffer(): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#free.length === 0) {
      this.#throwFailure();
      await Promise.race(this.#inFlight);
    }
    this.#throwFailure();
    return this.#free.pop()!;
  }

  /** Writes a buffer that is full; its first bytes may not count. */
  #send(buffer: Uint8Array<ArrayBuffer>): void {
    const [offset, from] = [this.#offsetBytes, this.#fromBytes];
    this.#start(
      buffer,
      from === 0 ? this.#device.write(buffer, offset) : this.#writeBehind(buffer, offset, from, buffer.length),
    );
    this.#buffer = null;
    this.#offsetBytes += buffer.length;
    this.#fromBytes = this.#toBytes = 0;
  }

  /** Writes what is left: up to a whole block, behind which the device keeps what it has. */
  async #sendLast(buffer: Uint8Array<ArrayBuffer>): Promise<void> {
    const [offset, from, to] = [this.#offsetBytes, this.#fromBytes, this.#toBytes];
    this.#buffer = null;
    const write = from === 0 && to % this.#alignBytes === 0
      ? this.#device.write(buffer.subarray(0, to), offset)
      : this.#writeBehind(buffer, offset, from, to);
    await this.#start(buffer, write);
    // A file that ends inside of the last block has become too long.
    const end = Math.max(offset + to, this.#sizeBytes);
    if (this.#failure === null && this.#device.info.kind === "file" && end < this.#device.size) {
      await this.#device.resize(end);
    }
  }

  /** Writes bytes `from` to `to` of a buffer: whole blocks, with what the device has around them. */
  async #writeBehind(buffer: Uint8Array<ArrayBuffer>, offset: number, from: number, to: number): Promise<number> {
    const whole = buffer.subarray(0, Math.ceil(to / this.#alignBytes) * this.#alignBytes);
    const old = new Uint8Array(whole.length);
    await this.#device.read(old, offset);
    whole.set(old.subarray(0, from));
    whole.set(old.subarray(to), to);
    return await this.#device.write(whole, offset);
  }

  #start(buffer: Uint8Array<ArrayBuffer>, write: Promise<number>): Promise<void> {
    const ended: Promise<void> = write.then(
      () => {},
      (error: unknown) => {
        this.#failure ??= { error };
      },
    ).then(() => {
      this.#inFlight.delete(ended);
      this.#free.push(buffer);
    });
    this.#inFlight.add(ended);
    return ended;
  }

  async #drained(): Promise<void> {
    await Promise.all(this.#inFlight);
  }

  /** Throws what went wrong behind the writer; the stream then ends with it. */
  #throwFailure(): void {
    if (this.#failure === null) return;
    this.#release();
    throw this.#failure.error;
  }

  /** Gives the memory back, once nothing is in flight. */
  #release(): void {
    this.#drained().then(() => {
      if (this.#free.length > 0) this.#device.release(this.#memory);
      this.#free.length = 0;
    }).catch(ignore);
  }
}

/** The device was closed meanwhile, and has given the memory back itself. */
function ignore(): void {}
