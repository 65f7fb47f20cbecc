import { describeErrno } from "../../core/base/errno.ts";
import { SECTOR_BYTES } from "../../core/base/sizes.ts";

/** Milliseconds for which errors of one kind are counted after the first, which is told at once. */
const INTERVAL_MS = 10_000;

/** Kinds of errors that are told apart; more become one. Bounds what a guest can make this process keep and say. */
const MAX_KINDS = 16;

interface Kind {
  count: number;
  last: string;
  timer: ReturnType<typeof setInterval>;
}

/**
 * Tells of requests that failed, without a flood: the first of a kind at once, then how many there were, once in ten
 * seconds, until there were none.
 */
export class ErrorLog {
  readonly #log: ((line: string) => void) | null;
  readonly #kinds = new Map<string, Kind>();

  /** Writes lines to `log`, or nowhere. */
  constructor(log: ((line: string) => void) | null) {
    this.#log = log;
  }

  /** The disk has failed: `action` such as `"write"`, `errno` positive. */
  failed(action: string, offset: number, length: number, errno: number): void {
    const where = action === "flush" ? "" : ` ${length} bytes at sector ${Math.floor(offset / SECTOR_BYTES)}`;
    this.#add(`${action} ${errno}`, `Cannot ${action}${where}: ${describeErrno(errno)}`);
  }

  /** The guest has asked for what this disk refuses, because of `reason`. */
  refused(offset: number, length: number, reason: string): void {
    const sector = Math.floor(offset / SECTOR_BYTES);
    this.#add(
      `refused ${reason}`,
      `A request of the guest for ${length} bytes at sector ${sector} is refused: ${reason}`,
    );
  }

  /** Tells what was counted and not told yet. */
  end(): void {
    for (const kind of this.#kinds.values()) {
      clearInterval(kind.timer);
      this.#tellCount(kind);
    }
    this.#kinds.clear();
  }

  #add(name: string, line: string): void {
    if (this.#log === null) return;
    const key = this.#kinds.has(name) || this.#kinds.size < MAX_KINDS ? name : "others";
    const kind = this.#kinds.get(key);
    if (kind !== undefined) {
      kind.count++;
      kind.last = line;
      return;
    }
    this.#log(line);
    const timer = setInterval(() => this.#tick(key), INTERVAL_MS);
    this.#kinds.set(key, { count: 0, last: line, timer });
  }

  #tick(key: string): void {
    const kind = this.#kinds.get(key)!;
    if (this.#tellCount(kind)) return;
    clearInterval(kind.timer);
    this.#kinds.delete(key);
  }

  #tellCount(kind: Kind): boolean {
    if (kind.count === 0) return false;
    this.#log!(`${kind.last}; ${kind.count} more like it`);
    kind.count = 0;
    return true;
  }
}
