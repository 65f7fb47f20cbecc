import { formatSize } from "../../core/base/units.ts";

/** Notices that a disk has another size than before, and says so. */
export class SizeWatch {
  /** Bytes of the disk when it was looked at last. */
  sizeBytes: number;
  readonly #ask: () => number;
  readonly #log: (line: string) => void;
  #failure = "";

  /** Watches a disk of `sizeBytes`; `ask` tells how large it is now. */
  constructor(sizeBytes: number, ask: () => number, log: (line: string) => void) {
    this.sizeBytes = sizeBytes;
    this.#ask = ask;
    this.#log = log;
  }

  /** Looks; true when the size is another than before. */
  hasChanged(): boolean {
    const before = this.sizeBytes;
    this.sizeBytes = this.#ask();
    this.#failure = "";
    if (this.sizeBytes === before) return false;
    const how = this.sizeBytes < before ? "has shrunk" : "has grown";
    this.#log(`the disk ${how} from ${words(before)} to ${words(this.sizeBytes)}`);
    return true;
  }

  /** The size cannot be found out, which is said once. */
  failed(error: unknown): void {
    const { message } = error as Error;
    if (message === this.#failure) return;
    this.#failure = message;
    this.#log(`the size of the disk is unknown: ${message}`);
  }
}

function words(sizeBytes: number): string {
  return `${formatSize(sizeBytes)} (${sizeBytes} bytes)`;
}
