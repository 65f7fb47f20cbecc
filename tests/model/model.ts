/**
 * What a target should hold: bytes, which of them are known, and the size.
 *
 * @module
 */
import { pattern } from "../support/temp_file.ts";

/** The content after every operation that has completed. */
export class Model {
  /** Size in bytes. */
  size: number;
  readonly #bytes: Uint8Array;
  /** 0 where a discard left what is not defined. */
  readonly #known: Uint8Array;

  /** The model of a target of `size` bytes that holds the pattern, as far as `extent`. */
  constructor(size: number, extent: number) {
    this.size = size;
    this.#bytes = new Uint8Array(extent);
    this.#known = new Uint8Array(extent).fill(1);
    this.#bytes.set(pattern(0, Math.min(size, extent)));
  }

  /** A write completes. */
  write(offset: number, data: Uint8Array): void {
    this.#bytes.set(data, offset);
    this.#known.fill(1, offset, offset + data.length);
    this.size = Math.max(this.size, offset + data.length);
  }

  /** Write zeroes completes. */
  zero(offset: number, length: number): void {
    this.write(offset, new Uint8Array(length));
  }

  /** A discard completes: what is there is unknown. */
  forget(offset: number, length: number): void {
    this.#known.fill(0, offset, offset + length);
  }

  /** The target is cut or grows with zeroes. */
  resize(byteLength: number): void {
    this.#bytes.fill(0, byteLength);
    this.#known.fill(1, byteLength);
    this.size = byteLength;
  }

  /** What is wrong with `found`, read from `offset` on, or null. Behind the end are zeroes. */
  difference(offset: number, found: Uint8Array): string | null {
    for (let index = 0; index < found.length; index++) {
      const at = offset + index;
      const wanted = at < this.size ? this.#bytes[at]! : 0;
      if (found[index] === wanted || (at < this.size && this.#known[at] === 0)) continue;
      return `byte ${at} is ${found[index]}, wanted ${wanted}`;
    }
    return null;
  }
}

/** What a write of `tag` at `offset` stores. */
export function writtenBytes(tag: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = tag + index * 7 + ((offset + index) >>> 9);
  return bytes;
}
