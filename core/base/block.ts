/** How completions are waited for; see docs/io_uring.md for what each costs. */
export type WaitMode =
  /** The event loop wakes up by an eventfd: nothing is spent while nothing completes. The default. */
  | "event"
  /** The completion queue is polled for a bounded, adaptive time before the event loop takes over. */
  | "poll"
  /** The Worker blocks in the kernel: for a dedicated Worker that does nothing else. */
  | "block";

/** The wait modes, for checking user input. */
export const WAIT_MODES: readonly WaitMode[] = ["event", "poll", "block"];

/** What a target turned out to be. */
export interface TargetInfo {
  /** What stands behind the path. */
  readonly kind: "file" | "block device" | "memory" | "remote";
  /** Logical block (sector) size in bytes: 512 or 4096 for disks, 1 for buffered files. */
  readonly blockSize: number;
  /** Alignments in bytes that a request must keep; 1 where anything goes. */
  readonly alignment: Alignment;
  /** True when writes are refused. */
  readonly readOnly: boolean;
  /** True when the page cache is bypassed (O_DIRECT, or a device without one). */
  readonly direct: boolean;
  /** True when the target can be open once only, in one Worker of one process. Absent: as often as wanted. */
  readonly singleOwner?: boolean;
}

/** Alignments in bytes. All are powers of two. */
export interface Alignment {
  /** Of the address of a buffer. */
  readonly memory: number;
  /** Of the offset and the length of a request. */
  readonly offset: number;
}

/** Bounds of one device. */
export interface BlockLimits {
  /** Requests of this Worker that the kernel holds at once; more wait in order. */
  readonly maxInflight: number;
  /** Bytes of one request. Longer ones are cut by the library. */
  readonly maxTransferBytes: number;
  /** Buffers in one vectored request. */
  readonly maxIovecs: number;
}

/** What tells a file from all others, whatever its name. */
export interface FileIdentity {
  /** `major:minor` of the file system that holds it, or of the device that a node of a block device leads to. */
  readonly device: string;
  /** Number of the inode, in decimal; null for a block device, of which each node is as good as any other. */
  readonly inode: string | null;
}

/** What a loop device lies over. */
export interface LoopBacking {
  readonly identity: FileIdentity;
  /** The part of it that is used. A length of 0 means to the end. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** How the file or block device behind a path is opened. */
export interface FileOptions {
  /** Bypass the page cache (O_DIRECT). Default false. */
  readonly direct?: boolean;
  /** Refuse writes. Default false, so writing needs no option but permission to open for writing. */
  readonly readOnly?: boolean;
  /** Create the regular file when it is missing. Default false. */
  readonly create?: boolean;
  /**
   * With `create`: fail when the file exists. On a block device: fail while it is mounted, used as swap or held by
   * another device, and keep it from being mounted meanwhile (O_EXCL, open(2)). Default false.
   */
  readonly exclusive?: boolean;
  /** Empty the regular file on opening; not together with `readOnly`. Default false. */
  readonly truncate?: boolean;
}
