/**
 * Files with content that tells every offset from every other, removed on dispose.
 *
 * @module
 */
import { join } from "node:path";

/** The byte at an offset of a patterned file: differs between neighbours, sectors and pages. */
export function patternAt(offset: number): number {
  return (offset * 31 + Math.floor(offset / 512) * 7 + Math.floor(offset / 65536) * 3 + 1) & 0xff;
}

/** `byteLength` bytes of the pattern from `offset` on. */
export function pattern(offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: byteLength }, (_, index) => patternAt(offset + index));
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
