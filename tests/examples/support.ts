/** What the tests of the examples share. */
import { join } from "node:path";
import { KvLog } from "../../examples/kv_log/mod.ts";
import { openDevice } from "../../mod.ts";

/** A temporary folder that is removed on dispose. */
export class TempFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "plugio-examples-" });

  /** A path in the folder. */
  at(name: string): string {
    return join(this.path, name);
  }

  /** Names in the folder, sorted. */
  names(): string[] {
    return Array.from(Deno.readDirSync(this.path), (entry) => entry.name).sort();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** UTF-8 of a text. */
export function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** `byteLength` bytes that depend on `seed` and differ from their neighbours. */
export function pattern(byteLength: number, seed: number): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(byteLength);
  for (let index = 0; index < byteLength; index++) made[index] = Math.imul(index + seed, 0x9e3779b1) >>> 13;
  return made;
}

/** Everything in an open log, values as text. */
export async function textOf(log: KvLog): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const [key, value] of log.entries()) found[key] = new TextDecoder().decode(value);
  return found;
}

/** Everything that a closed log holds, values as text. */
export async function contentOf(path: string): Promise<Record<string, string>> {
  await using log = await KvLog.open(path, { create: false });
  return await textOf(log);
}

/** True, or why direct I/O cannot be tried where temporary files are. */
export async function directWorks(): Promise<true | string> {
  using folder = new TempFolder();
  const path = folder.at("any");
  Deno.writeFileSync(path, new Uint8Array(4096));
  try {
    await (await openDevice(path, { direct: true })).close();
    return true;
  } catch (error) {
    return `no direct I/O on temporary files: ${(error as Error).message}`;
  }
}

/**
 * Opens the native libraries now: they stay open for the life of the process, which the leak check would blame on the
 * test that happens to use them first.
 */
export async function loadLibraries(): Promise<void> {
  using folder = new TempFolder();
  await (await openDevice(folder.at("any"), { create: true })).close();
}
