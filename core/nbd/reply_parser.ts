import {
  Chunk,
  errnoOf,
  EXTENDED_REPLY_BYTES,
  Magic,
  NbdProtocolError,
  readI32,
  readU16,
  readU32,
  readU64,
  REPLY_DONE,
  SIMPLE_REPLY_BYTES,
  STRUCTURED_REPLY_BYTES,
} from "./protocol.ts";

/** What the parser tells of replies, by the halves of their cookies. Methods throw NbdProtocolError for what makes no sense. */
export interface ReplySink {
  /** A simple reply: its errno, 0 for success. Returns the bytes of payload behind it. */
  simple(high: number, low: number, errno: number): number;
  /** A chunk says that `byteLength` bytes of payload at `offset` of the export follow, to be stored; its reply may go on. */
  data(high: number, low: number, offset: number, byteLength: number): void;
  /** A chunk says that there are zeroes. */
  hole(high: number, low: number, offset: number, byteLength: number): void;
  /** A chunk says that the request has failed; its reply may go on. */
  error(high: number, low: number, errno: number): void;
  /** A chunk has the status of blocks, in pairs of length and flags: `count` pairs of `width` bytes a number. */
  status(high: number, low: number, context: number, bytes: Uint8Array, width: 4 | 8): void;
  /** Stores payload of the reply under way: `bytes` from `start` to `end`. */
  store(bytes: Uint8Array, start: number, end: number): void;
  /** The payload of a simple reply is complete. */
  stored(): void;
  /** The last chunk of a reply is complete. */
  done(high: number, low: number): void;
}

/** Bytes of the longest chunk that is no payload: a server's list of extents, or a message. */
const MAX_CHUNK_BYTES = 16 * 1024 * 1024;

/** What is under way. */
const State = { header: 0, payload: 1, chunk: 2 } as const;

/**
 * Takes replies apart: simple ones, structured ones, those with extended headers, cut anywhere. Payload that is not there
 * yet may go around it: see {@link payloadLeft}.
 */
export class ReplyParser {
  readonly #sink: ReplySink;
  readonly #isExtended: boolean;
  readonly #isStructured: boolean;
  #state: number = State.header;
  /** Bytes of payload that are missing. */
  #left = 0;
  /** Of the chunk under way. */
  #isSimple = true;
  #flags = 0;
  #type = 0;
  #high = 0;
  #low = 0;
  #chunkBytes = 0;

  /** Parses for `sink`, as was agreed upon. */
  constructor(sink: ReplySink, agreed: { readonly structuredReplies: boolean; readonly extendedHeaders: boolean }) {
    this.#sink = sink;
    this.#isExtended = agreed.extendedHeaders;
    this.#isStructured = agreed.structuredReplies;
  }

  /** Bytes of payload that come next; they may be received straight to where they belong, and be counted by `received`. */
  get payloadLeft(): number {
    return this.#state === State.payload ? this.#left : 0;
  }

  /** Counts payload that went around the parser. */
  received(byteLength: number): void {
    this.#left -= byteLength;
    if (this.#left === 0) this.#endPayload();
  }

  /** Takes `bytes` from `start` to `end` in; returns where the part begins that is not complete, to be given once more. */
  feed(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end) {
      if (this.#state === State.payload) {
        const part = Math.min(this.#left, end - at);
        this.#sink.store(bytes, at, at + part);
        at += part;
        this.received(part);
        continue;
      }
      const next = this.#state === State.header ? this.#header(bytes, at, end) : this.#chunk(bytes, at, end);
      if (next < 0) break;
      at = next;
    }
    return at;
  }

  /** Bytes of the next piece that has to be complete: what a buffer has to have room for. */
  get pieceBytes(): number {
    return this.#state === State.chunk ? this.#pieceOfChunk() : EXTENDED_REPLY_BYTES;
  }

  #header(bytes: Uint8Array, at: number, end: number): number {
    if (end - at < 4) return -1;
    const magic = readU32(bytes, at);
    if (magic === Magic.simpleReply && !this.#isExtended) {
      if (end - at < SIMPLE_REPLY_BYTES) return -1;
      const error = readU32(bytes, at + 4);
      this.#left = this.#sink.simple(readI32(bytes, at + 8), readI32(bytes, at + 12), error === 0 ? 0 : errnoOf(error));
      if (this.#left > 0) {
        this.#isSimple = true;
        this.#state = State.payload;
      }
      return at + SIMPLE_REPLY_BYTES;
    }
    const wanted = this.#isExtended ? Magic.extendedReply : Magic.structuredReply;
    if (magic !== wanted || !this.#isStructured) {
      throw new NbdProtocolError(`a reply begins with 0x${magic.toString(16)}`);
    }
    const headerBytes = this.#isExtended ? EXTENDED_REPLY_BYTES : STRUCTURED_REPLY_BYTES;
    if (end - at < headerBytes) return -1;
    this.#flags = readU16(bytes, at + 4);
    this.#type = readU16(bytes, at + 6);
    this.#high = readI32(bytes, at + 8);
    this.#low = readI32(bytes, at + 12);
    this.#chunkBytes = this.#isExtended ? readU64(bytes, at + 24) : readU32(bytes, at + 16);
    this.#beginChunk();
    return at + headerBytes;
  }

  #beginChunk(): void {
    const { name, min, max } = chunkRule(this.#type);
    if (this.#chunkBytes < min || this.#chunkBytes > max) {
      throw new NbdProtocolError(`a chunk of ${name} has ${this.#chunkBytes} bytes`);
    }
    if (this.#type === Chunk.none && (this.#flags & REPLY_DONE) === 0) {
      throw new NbdProtocolError("a chunk of nothing does not end its reply");
    }
    if (this.#chunkBytes > 0) this.#state = State.chunk;
    else this.#endChunk();
  }

  /** Bytes of the chunk that have to be there at once: of data only its offset. */
  #pieceOfChunk(): number {
    return this.#type === Chunk.offsetData ? 8 : this.#chunkBytes;
  }

  #chunk(bytes: Uint8Array, at: number, end: number): number {
    const pieceBytes = this.#pieceOfChunk();
    if (end - at < pieceBytes) return -1;
    const sink = this.#sink;
    const high = this.#high;
    const low = this.#low;
    switch (this.#type) {
      case Chunk.offsetData:
        this.#left = this.#chunkBytes - 8;
        sink.data(high, low, readU64(bytes, at), this.#left);
        this.#isSimple = false;
        this.#state = State.payload;
        return at + 8;
      case Chunk.offsetHole:
        sink.hole(high, low, readU64(bytes, at), readU32(bytes, at + 8));
        break;
      case Chunk.blockStatus:
        this.#status(bytes.subarray(at, at + pieceBytes), 4, 4);
        break;
      case Chunk.blockStatusExtended:
        this.#status(bytes.subarray(at, at + pieceBytes), 8, 8);
        break;
      default: {
        const error = readU32(bytes, at);
        sink.error(high, low, errnoOf(error));
      }
    }
    this.#endChunk();
    return at + pieceBytes;
  }

  #status(bytes: Uint8Array, skip: number, width: 4 | 8): void {
    const pairs = bytes.subarray(skip);
    if (pairs.length === 0 || pairs.length % (2 * width) !== 0) {
      throw new NbdProtocolError(`a chunk of block status has ${bytes.length} bytes`);
    }
    if (width === 8 && readU32(bytes, 4) !== pairs.length / 16) {
      throw new NbdProtocolError("a chunk of block status counts other extents than it has");
    }
    this.#sink.status(this.#high, this.#low, readU32(bytes, 0), pairs, width);
  }

  #endPayload(): void {
    this.#state = State.header;
    if (this.#isSimple) this.#sink.stored();
    else this.#endChunk();
  }

  #endChunk(): void {
    this.#state = State.header;
    if ((this.#flags & REPLY_DONE) !== 0) this.#sink.done(this.#high, this.#low);
  }
}

/** Name and sizes of a type of chunk; an unknown error is an error, and anything else unknown breaks the protocol. */
function chunkRule(type: number): { readonly name: string; readonly min: number; readonly max: number } {
  switch (type) {
    case Chunk.none:
      return { name: "nothing", min: 0, max: 0 };
    case Chunk.offsetData:
      return { name: "data", min: 9, max: 0xffff_ffff };
    case Chunk.offsetHole:
      return { name: "a hole", min: 12, max: 12 };
    case Chunk.blockStatus:
      return { name: "block status", min: 12, max: MAX_CHUNK_BYTES };
    case Chunk.blockStatusExtended:
      return { name: "block status", min: 24, max: MAX_CHUNK_BYTES };
    default:
      if ((type & 0x8000) !== 0) return { name: "an error", min: 6, max: 65_536 };
      throw new NbdProtocolError(`a chunk has type ${type}`);
  }
}
