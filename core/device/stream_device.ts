import type { Alignment, TargetInfo } from "../base/block.ts";
import { integer } from "../base/options.ts";

/** What a stream needs of its device: a part of {@link BlockDevice}. */
export interface StreamDevice {
  readonly target: string;
  readonly info: TargetInfo;
  readonly alignment: Alignment;
  readonly size: number;
  allocate(count: number, byteLength: number): Uint8Array<ArrayBuffer>[];
  release(buffers: readonly Uint8Array[]): void;
  read(buffer: Uint8Array, offset: number, options?: { readonly signal?: AbortSignal }): Promise<number>;
  write(buffer: Uint8Array, offset: number): Promise<number>;
  flush(): Promise<void>;
  resize(byteLength: number): Promise<void>;
}

/** Bytes of a chunk: what a block of bounce memory takes. */
const DEFAULT_CHUNK_BYTES = 256 * 1024;

/** Chunks ahead of the reader, or behind the writer. */
export const DEFAULT_STREAM_DEPTH = 4;

/** Most chunks of a stream in flight. */
const MAX_STREAM_DEPTH = 1024;

/** Longest chunk: what is in memory is that times the depth. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;

/** What may be said of the bytes of a chunk. */
export const CHUNK_RULE = integer(1, MAX_CHUNK_BYTES, `an integer from 1 to ${MAX_CHUNK_BYTES}`);

/** What may be said of the chunks in flight. */
export const DEPTH_RULE = integer(1, MAX_STREAM_DEPTH, `an integer from 1 to ${MAX_STREAM_DEPTH}`);

/** The chunk size that was asked for, or the default; throws a RangeError where the device cannot transfer such a chunk. */
export function checkedChunk({ alignment, target }: StreamDevice, chunkSize: number | undefined, verb: string): number {
  const chunkBytes = chunkSize ?? Math.max(DEFAULT_CHUNK_BYTES, alignment.offset);
  if (chunkBytes % alignment.offset === 0) return chunkBytes;
  throw new RangeError(
    `Cannot ${verb} a stream of ${target} with chunkSize ${chunkBytes}: wanted a multiple of ${alignment.offset}`,
  );
}
