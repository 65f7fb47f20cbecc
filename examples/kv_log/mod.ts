/**
 * A small append-only key-value log on plugio; see README.md beside it.
 *
 * @module
 */
import { type QueueStats, StorageError } from "../../mod.ts";
import { type Change, COMMIT_BYTES, compactionPath, LogFile, type LogFileOptions } from "./log_file.ts";
import { MAX_KEY_BYTES, MAX_VALUE_BYTES, RecordKind } from "./record.ts";

export { MAX_KEY_BYTES, MAX_VALUE_BYTES } from "./record.ts";

/** How {@link KvLog.open} opens a log. */
export type KvLogOptions = LogFileOptions;

/** Values that are read side by side. */
const READ_AHEAD_KEYS = 256;

/** A change and who waits for it. */
interface Waiting {
  readonly change: Change;
  readonly resolve: (known: boolean) => void;
  readonly reject: (error: unknown) => void;
}

const NO_VALUE = new Uint8Array(0);
const encoder = new TextEncoder();

/**
 * A map from strings to bytes that survives crashes. Keys are in memory, values on disk.
 *
 * `set` and `delete` resolve when they are durable. Those of one turn of the event loop, and those that come while a
 * commit is on its way, become one commit: one write. A commit that fails is rejected for all that wait for it and ends
 * writing: what the disk holds then is only known after opening the log again.
 *
 * One KvLog at a time may have a file open, in any process. It belongs to the Worker that opened it.
 *
 * Needs `--allow-ffi`, and `--allow-read` and `--allow-write` for the file and its folder.
 *
 * @example
 * ```ts ignore
 * import { KvLog } from "./mod.ts";
 *
 * await using log = await KvLog.open("users.log");
 * await log.set("ada", new TextEncoder().encode("countess"));
 * const value = await log.get("ada");
 * ```
 */
export class KvLog implements AsyncDisposable {
  readonly #options: KvLogOptions;
  #file: LogFile;
  #waiting: Waiting[] = [];
  #jobs: Promise<void> = Promise.resolve();
  #commitDue = false;
  #failure: StorageError | null = null;
  #closing: Promise<void> | null = null;

  private constructor(file: LogFile, options: KvLogOptions) {
    this.#file = file;
    this.#options = options;
  }

  /**
   * Opens the log at `path`, and recovers it when it was not closed: a commit that was not acknowledged is dropped.
   *
   * Rejects with StorageError for a file that is open elsewhere, is no log, or is damaged (see `salvage`).
   */
  static async open(path: string, options: KvLogOptions = {}): Promise<KvLog> {
    const file = await LogFile.open(path, options);
    // Left behind by a process that was killed while it compacted; the lock says that no other process is at it.
    removeIfThere(compactionPath(path));
    return new KvLog(file, options);
  }

  /** Number of keys. */
  get size(): number {
    return this.#file.keyCount;
  }

  /** Bytes of the file that are in use, records that have been overtaken included. */
  get byteLength(): number {
    return this.#file.byteLength;
  }

  /** Counters of the queue behind the log, live. */
  get stats(): QueueStats {
    return this.#file.device.stats;
  }

  /** The value of a key as of the last commit, or undefined. */
  get(key: string): Promise<Uint8Array | undefined> {
    if (this.#closing !== null) return Promise.reject(this.#closed("get from"));
    return this.#file.read(key);
  }

  /**
   * Stores a value. The bytes must stay as they are until the promise settles.
   *
   * Rejects with RangeError for a key that is empty, longer than MAX_KEY_BYTES in UTF-8 or holds a lone surrogate, and
   * for a value longer than MAX_VALUE_BYTES.
   */
  async set(key: string, value: Uint8Array): Promise<void> {
    const keyBytes = encodeKey("set", key);
    if (value.length > MAX_VALUE_BYTES) {
      throw new RangeError(`Cannot set a value of ${value.length} bytes: wanted at most ${MAX_VALUE_BYTES}`);
    }
    await this.#change(setChange(key, keyBytes, value));
  }

  /** Removes a key; resolves to whether it was there. */
  async delete(key: string): Promise<boolean> {
    const keyBytes = encodeKey("delete", key);
    return await this.#change({ kind: RecordKind.delete, key, keyBytes, value: NO_VALUE });
  }

  /** Keys and values, in order of the first setting of each key. Keys that come or go meanwhile may be missed. */
  async *entries(): AsyncGenerator<[key: string, value: Uint8Array]> {
    for await (const group of readInGroups(this.#file, (key) => this.get(key))) yield* group;
  }

  /** Writes what is alive to a new file that takes the place of the old one. Changes wait meanwhile, reads do not. */
  compact(): Promise<void> {
    const refusal = this.#refusal("compact");
    return refusal === null ? this.#exclusively(() => this.#compact()) : Promise.reject(refusal);
  }

  /** Waits for the changes made so far, cuts off what the file grew ahead and gives it back. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#exclusively(async () => {
      while (this.#waiting.length > 0) await this.#commit();
      await this.#file.close({ trim: this.#failure === null });
    });
  }

  /** `await using`: the same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #change(change: Change): Promise<boolean> {
    const refusal = this.#refusal(change.kind === RecordKind.set ? "set in" : "delete from");
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ change, resolve, reject });
      this.#scheduleCommit();
    });
  }

  #scheduleCommit(): void {
    if (this.#commitDue) return;
    this.#commitDue = true;
    void this.#exclusively(async () => {
      this.#commitDue = false;
      await this.#commit();
      if (this.#waiting.length > 0) this.#scheduleCommit();
    });
  }

  /** Runs a job when those before it have ended, and never in this turn: later changes of the turn still join. */
  #exclusively(job: () => Promise<void>): Promise<void> {
    const done = this.#jobs.then(job);
    this.#jobs = done.catch(() => {});
    return done;
  }

  /** Writes the first of the waiting changes, as many as fit into one commit, and tells who waits for them. */
  async #commit(): Promise<void> {
    let count = 0;
    for (let bytes = 0; count < this.#waiting.length; count++) {
      bytes += this.#file.bytesOf(this.#waiting[count]!.change);
      if (count > 0 && bytes > COMMIT_BYTES) break;
    }
    const group = this.#waiting.splice(0, count);
    if (group.length === 0) return;
    try {
      if (this.#failure !== null) throw this.#failure;
      const known = await this.#file.append(group.map(({ change }) => change));
      for (const [index, { resolve }] of group.entries()) resolve(known[index]!);
    } catch (error) {
      this.#failure ??= this.#broken(error);
      for (const { reject } of group) reject(error);
    }
  }

  async #compact(): Promise<void> {
    const old = this.#file;
    const { path } = old;
    const fresh = await LogFile.open(compactionPath(path), { ...this.#options, create: true }, true);
    try {
      for await (const group of readInGroups(old, (key) => old.read(key))) {
        await fresh.append(group.map(([key, value]) => setChange(key, encoder.encode(key), value)));
      }
      fresh.rename(path);
    } catch (error) {
      await fresh.close({ trim: false });
      removeIfThere(compactionPath(path));
      throw error;
    }
    this.#file = fresh;
    // Reads that are on their way hold the old file open until they are done.
    await old.close({ trim: false });
  }

  #refusal(op: string): StorageError | null {
    return this.#closing !== null ? this.#closed(op) : this.#failure;
  }

  #closed(op: string): StorageError {
    return new StorageError({ kind: "closed", op, target: this.#file.path, detail: "KvLog is closed; wanted it open" });
  }

  #broken(cause: unknown): StorageError {
    const detail = "an earlier commit failed; wanted the log closed and opened again";
    return new StorageError({ kind: "broken", op: "write to", target: this.#file.path, detail, cause });
  }
}

function setChange(key: string, keyBytes: Uint8Array, value: Uint8Array): Change {
  return { kind: RecordKind.set, key, keyBytes, value };
}

/** Reads all values of a file, several at once so that they go out together, but not too many bytes of them. */
async function* readInGroups(
  file: LogFile,
  read: (key: string) => Promise<Uint8Array | undefined>,
): AsyncGenerator<[key: string, value: Uint8Array][]> {
  const keys = file.keys();
  for (let at = 0; at < keys.length;) {
    const ahead: string[] = [];
    for (let bytes = 0; at < keys.length && ahead.length < READ_AHEAD_KEYS && bytes < COMMIT_BYTES; at++) {
      ahead.push(keys[at]!);
      bytes += file.bytesAt(keys[at]!);
    }
    const values = await Promise.all(ahead.map(read));
    yield ahead.flatMap((key, index) => values[index] === undefined ? [] : [[key, values[index]]]);
  }
}

function encodeKey(op: string, key: string): Uint8Array {
  // UTF-8 has no lone surrogates: two different keys would become the same.
  if (!key.isWellFormed()) throw new RangeError(`Cannot ${op} key ${JSON.stringify(key)}: wanted no lone surrogate`);
  const bytes = encoder.encode(key);
  if (bytes.length > 0 && bytes.length <= MAX_KEY_BYTES) return bytes;
  throw new RangeError(`Cannot ${op} a key of ${bytes.length} bytes: wanted 1 to ${MAX_KEY_BYTES} bytes of UTF-8`);
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
