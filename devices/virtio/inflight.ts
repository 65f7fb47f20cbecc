import { struct } from "../../core/base/layout.ts";
import { TWO_32 } from "../../core/base/sizes.ts";
import { MAX_QUEUE_SIZE } from "./ring.ts";

/**
 * Head of a queue's part of the in-flight file, as the vhost-user specification lays it out ("Inflight I/O tracking",
 * split virtqueue); no C header has it.
 */
const REGION = struct("QueueRegionSplit", "vhost-user.rst", 16, {
  features: ["features", "u64", 0],
  version: ["version", "u16", 8],
  descCount: ["desc_num", "u16", 10],
  lastBatchHead: ["last_batch_head", "u16", 12],
  usedIndex: ["used_idx", "u16", 14],
});

/** What is kept of each descriptor. */
const STATE = struct("DescStateSplit", "vhost-user.rst", 16, {
  inflight: ["inflight", "u8", 0],
  next: ["next", "u16", 6],
  counter: ["counter", "u64", 8],
});

/** The only version there is. */
const VERSION = 1;

/** Alignment of a queue's part, so that queues of different Workers share no cache line. */
const ALIGN_BYTES = 64;

const HALF_BYTES = 2;
const WORD_BYTES = 4;

/** Bytes of one queue's part of the in-flight file. */
export function inflightBytes(queueSize: number): number {
  return Math.ceil((REGION.byteLength + queueSize * STATE.byteLength) / ALIGN_BYTES) * ALIGN_BYTES;
}

/** Entries of the largest ring that `byteLength` bytes of the in-flight file have room for; 0 where they are too few. */
export function inflightEntries(byteLength: number): number {
  const room = (Math.floor(byteLength / ALIGN_BYTES) * ALIGN_BYTES - REGION.byteLength) / STATE.byteLength;
  return room < 1 ? 0 : Math.min(2 ** Math.floor(Math.log2(room)), MAX_QUEUE_SIZE);
}

/**
 * The requests of one queue that have been taken and not answered, in memory that outlives the process: the server that serves
 * the queue next does them again, in the order in which they were taken.
 *
 * The steps of taking and answering and their order are those of the specification: at any instruction in between the
 * process may die.
 */
export class InflightLog {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #halves: Uint16Array<ArrayBuffer>;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #size: number;
  #counter = 0;

  /** Makes the log of a queue with `queueSize` entries over its part of the file. */
  constructor(memory: Uint8Array<ArrayBuffer>, queueSize: number) {
    const byteLength = inflightBytes(queueSize);
    if (memory.length < byteLength) {
      throw new RangeError(`Cannot track ${queueSize} requests in ${memory.length} bytes: wanted ${byteLength}`);
    }
    this.#size = queueSize;
    this.#bytes = memory;
    this.#halves = new Uint16Array(memory.buffer, memory.byteOffset, byteLength / HALF_BYTES);
    this.#words = new Uint32Array(memory.buffer, memory.byteOffset, byteLength / WORD_BYTES);
  }

  /**
   * Gets the log ready for a queue whose used ring stands at `usedIndex`; returns the heads to do again, oldest first.
   * A head outside of the ring, or a batch longer than it, is damage: RangeError.
   */
  recover(usedIndex: number): number[] {
    const fields = REGION.fields;
    const isNew = this.#half(fields.version.offset) === 0;
    if (!isNew) this.#assertIntact();
    this.#setHalf(fields.descCount.offset, this.#size);
    if (isNew) {
      this.#setHalf(fields.usedIndex.offset, usedIndex);
      this.#setHalf(fields.version.offset, VERSION);
      return [];
    }
    this.#finishBatch(usedIndex);
    const heads: number[] = [];
    for (let head = 0; head < this.#size; head++) if (this.#bytes[this.#state(head)] === 1) heads.push(head);
    heads.sort((a, b) => this.#counterOf(a) - this.#counterOf(b));
    for (const head of heads) this.#counter = Math.max(this.#counter, this.#counterOf(head) + 1);
    return heads;
  }

  /** A request was taken from the available ring. */
  taken(head: number): void {
    const at = this.#state(head);
    const word = (at + STATE.fields.counter.offset) / WORD_BYTES;
    const counter = this.#counter++;
    this.#words[word] = counter;
    this.#words[word + 1] = counter / TWO_32;
    // Atomic for its order: the counter has to be there first.
    Atomics.store(this.#bytes, at, 1);
  }

  /** Before the answer is published in the used ring. */
  answering(head: number): void {
    const { lastBatchHead } = REGION.fields;
    this.#setHalf(this.#state(head) + STATE.fields.next.offset, this.#half(lastBatchHead.offset));
    this.#setHalf(lastBatchHead.offset, head);
  }

  /** After the used ring has moved to `usedIndex`. */
  answered(head: number, usedIndex: number): void {
    Atomics.store(this.#bytes, this.#state(head), 0);
    this.#setHalf(REGION.fields.usedIndex.offset, usedIndex);
  }

  /** The batch that the last process published without getting to say so. */
  #finishBatch(usedIndex: number): void {
    const { lastBatchHead, usedIndex: logged } = REGION.fields;
    const batch = (usedIndex - this.#half(logged.offset)) & 0xffff;
    if (batch > this.#size) throw damaged(`a batch of ${batch} answers in a ring of ${this.#size}`);
    let head = this.#half(lastBatchHead.offset);
    for (let left = batch; left > 0; left--) {
      if (head >= this.#size) throw damaged(`head ${head} in a ring of ${this.#size}`);
      this.#bytes[this.#state(head)] = 0;
      head = this.#half(this.#state(head) + STATE.fields.next.offset);
    }
    this.#setHalf(logged.offset, usedIndex);
  }

  #assertIntact(): void {
    const version = this.#half(REGION.fields.version.offset);
    const count = this.#half(REGION.fields.descCount.offset);
    if (version !== VERSION) throw damaged(`version ${version}`);
    // The server before may have used less of the room than there is. Some monitors leave the count at 0.
    if (count > this.#size) throw damaged(`${count} entries where there is room for ${this.#size}`);
  }

  #state(head: number): number {
    return REGION.byteLength + head * STATE.byteLength;
  }

  #counterOf(head: number): number {
    const word = (this.#state(head) + STATE.fields.counter.offset) / WORD_BYTES;
    return this.#words[word]! + this.#words[word + 1]! * TWO_32;
  }

  #half(offset: number): number {
    return Atomics.load(this.#halves, offset / HALF_BYTES);
  }

  #setHalf(offset: number, value: number): void {
    Atomics.store(this.#halves, offset / HALF_BYTES, value);
  }
}

function damaged(what: string): RangeError {
  return new RangeError(`Cannot use the in-flight file: it says ${what}; wanted the file of this queue`);
}
