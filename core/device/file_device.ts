import type { TargetInfo } from "../base/block.ts";
import { tearDownInTurn } from "../base/teardown.ts";
import type { RangeTarget } from "../request/range_fallback.ts";
import type { OpenOptions } from "./backend.ts";
import { QueueDevice, type QueueDeviceParts } from "./queue_device.ts";

/** An open regular file or block device: ffi/target.ts. */
interface LocalFile {
  /** The path as the user gave it. */
  readonly path: string;
  /** The descriptor; −1 after `close`. */
  readonly fd: number;
  /** What was found. */
  readonly info: TargetInfo;
  /** Size in bytes now. */
  size(): number;
  /** Grows or truncates a regular file. */
  resize(byteLength: number): void;
  /** Grows a regular file that ends before `byteLength`; returns 0 or −errno. */
  growTo(byteLength: number): number;
  /** Closes it; harmless when done twice. */
  close(): void;
}

/** What a file device is made of. */
interface FileDeviceParts extends Omit<QueueDeviceParts, "target" | "info"> {
  /** The file; the device closes it. */
  readonly file: LocalFile;
}

/** One open file or block device: what all drivers of local files have in common. */
export abstract class FileDevice extends QueueDevice implements RangeTarget {
  readonly reachesAllMemory = true;
  readonly isDevice: boolean;
  abstract discardMethod: "command" | "punch";
  zeroMethod: "zero range" | "punch" = "zero range";
  readonly #file: LocalFile;

  /** Makes the device; `options` as for a {@link QueueDevice}. */
  constructor({ file, ...parts }: FileDeviceParts, options: OpenOptions) {
    super({ ...parts, target: file.path, info: file.info }, options);
    this.#file = file;
    this.isDevice = file.info.kind === "block device";
  }

  /** Takes the file and its memory out of the queue; nothing is in flight. */
  protected abstract detach(): void;

  /** Gives the queue back; one that is `leaked` still has I/O in flight. */
  protected abstract releaseQueue(leaked: boolean): void | Promise<void>;

  get fileFd(): number {
    return this.#file.fd;
  }

  size(): number {
    return this.#file.size();
  }

  resize(byteLength: number): void {
    this.#file.resize(byteLength);
  }

  growTo(byteLength: number): number {
    return this.#file.growTo(byteLength);
  }

  protected leak(): void | Promise<void> {
    return this.releaseQueue(true);
  }

  protected release(): Promise<void> {
    // What a file system says at the close, EIO for one, concerns this file: it is closed all the same (close(2)).
    return tearDownInTurn(() => this.detach(), () => this.#file.close(), () => this.releaseQueue(false));
  }
}
