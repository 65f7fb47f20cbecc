/**
 * Views of bytes as the engine sees them. What a subclass or an object says of itself by getters of its own has no say
 * in what a kernel is pointed at.
 *
 * @module
 */

const prototype = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;

function getterOf(name: "length" | "byteOffset" | "buffer" | typeof Symbol.toStringTag): () => unknown {
  return Object.getOwnPropertyDescriptor(prototype, name)!.get!;
}

const tag = getterOf(Symbol.toStringTag) as (this: unknown) => string | undefined;
const length = getterOf("length") as (this: Uint8Array) => number;
const byteOffset = getterOf("byteOffset") as (this: Uint8Array) => number;
const buffer = getterOf("buffer") as (this: Uint8Array) => ArrayBufferLike;
const { at, set } = prototype;

/** True for a Uint8Array and for subclasses such as Node's Buffer, of any realm; never throws. */
export function isBytes(value: unknown): value is Uint8Array {
  return tag.call(value) === "Uint8Array";
}

/** Bytes of `view`; 0 when its memory is gone. */
export function lengthOf(view: Uint8Array): number {
  return length.call(view);
}

/** Where `view` starts in its buffer, in bytes. */
export function startOf(view: Uint8Array): number {
  return byteOffset.call(view);
}

/** The buffer that `view` lies in. */
export function bufferOf(view: Uint8Array): ArrayBufferLike {
  return buffer.call(view);
}

/** True for a view whose memory was released, transferred away, or shrunk until the view was outside. */
export function isGone(view: Uint8Array): boolean {
  if (lengthOf(view) > 0) return false;
  try {
    at.call(view, 0);
    return false;
  } catch {
    return true;
  }
}

/** A plain view of `byteLength` bytes from byte `start` of `view` on. */
export function partOf(view: Uint8Array, start: number, byteLength: number): Uint8Array {
  return new Uint8Array(bufferOf(view), startOf(view) + start, byteLength);
}

/** Stores the bytes of `source` at byte `start` of `target`. */
export function copyBytes(target: Uint8Array, source: Uint8Array, start: number): void {
  set.call(target, source, start);
}
