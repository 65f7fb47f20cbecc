import { integer, OptionTable } from "../base/options.ts";
import { MAX_OFFSET_BYTES } from "../base/limits.ts";
import { checkedChunk, CHUNK_RULE, DEFAULT_STREAM_DEPTH, DEPTH_RULE, type StreamDevice } from "./stream_device.ts";

/** Options of {@link BlockDevice.readable}. */
export interface ReadableOptions {
  /** First byte. Default 0. */
  readonly start?: number;
  /** Byte behind the last one; what lies beyond the end of the device is left out. Default: the size. */
  readonly end?: number;
  /** Bytes of a chunk, a multiple of the device's alignment; the first and the last one may be shorter. Default 256 KiB. */
  readonly chunkSize?: number;
  /** Chunks that are read ahead, 1 to 1024. Default 4. */
  readonly depth?: number;
}

const POSITION = integer(0, MAX_OFFSET_BYTES, "an integer from 0 to 2^53 − 1");

const OPTIONS = new OptionTable<ReadableOptions>("read a stream with", {
  start: POSITION,
  end: POSITION,
  chunkSize: CHUNK_RULE,
  depth: DEPTH_RULE,
});

/** One chunk that is being read, and the bytes in front of it that alignment added. */
interface Chunk {
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly bytes: Promise<number>;
  readonly skipBytes: number;
}

/** The bytes of a range in order, with chunks read ahead: what stands behind {@link BlockDevice.readable}. */
export function readableOf(
  device: StreamDevice,
  options: ReadableOptions | undefined,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { start = 0, end = MAX_OFFSET_BYTES, chunkSize, depth = DEFAULT_STREAM_DEPTH } = OPTIONS.read(options);
  if (end < start) {
    throw new RangeError(`Cannot read a stream with end ${end}: wanted at least start, which is ${start}`);
  }
  const chunkBytes = checkedChunk(device, chunkSize, "read");
  const source = new ReadSource(device, start, Math.min(end, device.size), chunkBytes, depth);
  return new ReadableStream<Uint8Array<ArrayBuffer>>(source, { highWaterMark: 0 });
}

class ReadSource implements UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> {
  readonly #device: StreamDevice;
  readonly #startBytes: number;
  readonly #endBytes: number;
  readonly #chunkBytes: number;
  readonly #depth: number;
  readonly #ahead: Chunk[] = [];
  readonly #cancelled = new AbortController();
  #nextBytes: number;

  constructor(device: StreamDevice, startBytes: number, endBytes: number, chunkBytes: number, depth: number) {
    this.#device = device;
    this.#startBytes = startBytes;
    this.#endBytes = endBytes;
    this.#chunkBytes = chunkBytes;
    this.#depth = depth;
    this.#nextBytes = startBytes - startBytes % device.alignment.offset;
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    this.#readAhead();
    const chunk = this.#ahead.shift();
    if (chunk === undefined) return controller.close();
    this.#readAhead();
    const { buffer, skipBytes } = chunk;
    const bytes = await chunk.bytes.catch((error: unknown) => {
      this.#stop(error);
      throw error;
    });
    if (bytes > skipBytes) controller.enqueue(buffer.subarray(skipBytes, bytes));
    // Short: the device has ended before the size that it had at the start.
    if (bytes < buffer.length) {
      this.#stop(null);
      controller.close();
    }
  }

  async cancel(reason: unknown): Promise<void> {
    const ended = this.#ahead.map(({ bytes }) => bytes);
    this.#stop(reason);
    await Promise.allSettled(ended);
  }

  /** Reads on, up to the depth. */
  #readAhead(): void {
    while (this.#ahead.length < this.#depth && this.#nextBytes < this.#endBytes) {
      const offset = this.#nextBytes;
      const { alignment } = this.#device;
      const left = Math.ceil((this.#endBytes - offset) / alignment.offset) * alignment.offset;
      const buffer = new Uint8Array(Math.min(this.#chunkBytes, left));
      const bytes = this.#device.read(buffer, offset, { signal: this.#cancelled.signal })
        .then((got) => Math.min(got, this.#endBytes - offset));
      // Looked at when its turn comes.
      bytes.catch(ignore);
      this.#ahead.push({ buffer, bytes, skipBytes: Math.max(0, this.#startBytes - offset) });
      this.#nextBytes += buffer.length;
    }
  }

  /** Gives up what is being read ahead. */
  #stop(reason: unknown): void {
    this.#nextBytes = this.#endBytes;
    this.#ahead.length = 0;
    this.#cancelled.abort(reason);
  }
}

function ignore(): void {}
