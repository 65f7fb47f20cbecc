/**
 * Files with content that tells every offset from every other, removed on dispose.
 *
 * @module
 */
import { join } from "node:path";

/** Bytes of the pattern that are kept, in bytes. */
const PATTERN_CACHE_BYTES = 16 << 20;

/** The byte at an offset of a patterned file: differs between neighbours, sectors and pages. */
export function patternAt(offset: number): number {
  return (offset * 31 + Math.floor(offset / 512) * 7 + Math.floor(offset / 65536) * 3 + 1) & 0xff;
}

/** The start of the pattern, made once: tests ask for it all the time. */
let start: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** `byteLength` bytes of the pattern from `offset` on. */
export function pattern(offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
  const end = offset + byteLength;
  if (end > PATTERN_CACHE_BYTES) return makePattern(offset, byteLength);
  if (end > start.length) start = makePattern(0, Math.min(PATTERN_CACHE_BYTES, Math.max(end, 2 * start.length)));
  return start.slice(offset, end);
}

function makePattern(offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  for (let index = 0; index < byteLength; index++) bytes[index] = patternAt(offset + index);
  return bytes;
}

/** A folder for one test. */
export class TempDir implements Disposable {
  /** The folder. */
  readonly path: string = Deno.makeTempDirSync({ prefix: "plugio-test-" });

  /** Makes a file of `byteLength` patterned bytes and returns its path. */
  file(name: string, byteLength: number): string {
    const path = join(this.path, name);
    Deno.writeFileSync(path, pattern(0, byteLength));
    return path;
  }

  /** Makes a file of zeroes that takes no room, and returns its path. */
  sparse(name: string, byteLength: number): string {
    const path = join(this.path, name);
    Deno.writeFileSync(path, new Uint8Array());
    Deno.truncateSync(path, byteLength);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
