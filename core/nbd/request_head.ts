import {
  EXTENDED_REQUEST_BYTES,
  Magic,
  NbdProtocolError,
  readI32,
  readU16,
  readU32,
  readU64,
  REQUEST_BYTES,
} from "./protocol.ts";

/** The header of a request, taken apart; filled anew for each. */
export class RequestHead {
  flags = 0;
  command = 0;
  /** Halves of the cookie. */
  high = 0;
  low = 0;
  offset = 0;
  length = 0;
  /** Bytes of a header. */
  readonly byteLength: number;
  readonly #magic: number;

  /** For headers as they were agreed upon. */
  constructor(isExtended: boolean) {
    this.byteLength = isExtended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES;
    this.#magic = isExtended ? Magic.extendedRequest : Magic.request;
  }

  /** Reads the header at `at`, which is there whole. Throws NbdProtocolError for what is none. */
  read(bytes: Uint8Array, at: number): void {
    const magic = readU32(bytes, at);
    if (magic !== this.#magic) throw new NbdProtocolError(`a request begins with 0x${magic.toString(16)}`);
    this.flags = readU16(bytes, at + 4);
    this.command = readU16(bytes, at + 6);
    this.high = readI32(bytes, at + 8);
    this.low = readI32(bytes, at + 12);
    this.offset = readU64(bytes, at + 16);
    this.length = this.byteLength === REQUEST_BYTES ? readU32(bytes, at + 24) : readU64(bytes, at + 24);
  }
}
