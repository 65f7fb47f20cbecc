/** What fills the buffers of writes. */
export interface WriteSource {
  /** Prepares the buffer of slot `index` for the block at `offsetBytes`. Allocates nothing. */
  stamp(index: number, offsetBytes: number): void;
  /** The write of slot `index` ended: `result` is bytes or −errno. */
  ended(index: number, result: number): void;
}
