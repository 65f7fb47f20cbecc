import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import type { ExportFacts } from "../../core/nbd/handshake.ts";
import {
  ALLOCATION_CONTEXT,
  AllocationFlag,
  Command,
  ExportFlag,
  EXTENDED_REQUEST_BYTES,
  NbdProtocolError,
  readU32,
  readU64,
} from "../../core/nbd/protocol.ts";
import { ReplyParser, type ReplySink } from "../../core/nbd/reply_parser.ts";
import { writeExtendedRequest, writeRequest } from "../../core/nbd/request.ts";
import { closeSocket, pollSoon, READABLE } from "../../ffi/stream_socket.ts";
import { receive, send } from "../../ffi/unix_socket.ts";
import { parseNbdAddress } from "./address.ts";
import { type Dialled, dialSoon, slowServer } from "./dial.ts";
import { addressesOf, refuseTls } from "./place.ts";

/** Milliseconds that the server gets to answer, each time. */
const ANSWER_MS = 10_000;

/** Most bytes that one request asks about: below 2^32, and a multiple of every block. */
const MAX_RANGE_BYTES = 1024 * 1024 * 1024;

/** Requests at most: what is larger, or in more pieces, is not counted. */
const MAX_REQUESTS = 4_096;

/** Bytes of one receive. */
const RECEIVE_BYTES = 65_536;

/** How much of an export holds something. */
export interface NbdAllocation {
  /** Bytes that hold data. */
  readonly dataBytes: number;
  /** Bytes of holes, and of what is known to read as zeroes. */
  readonly zeroBytes: number;
  /** Pieces that both are in, as the server cuts them. */
  readonly extentCount: number;
}

/** What an export is and can, as its server says. Sizes in bytes. */
export interface NbdExportReport {
  /** The address that was asked. */
  readonly target: string;
  /** Name of the export; empty for the server's default. */
  readonly exportName: string;
  /** What the server says of it; empty where it says nothing. */
  readonly description: string;
  /** Size of the disk. */
  readonly sizeBytes: number;
  /** Writes are refused. */
  readonly readOnly: boolean;
  /** Names of what it can, as in NBD's transmission flags: `FLUSH`, `FUA`, `TRIM`, `MULTI_CONN` and so on. */
  readonly can: readonly string[];
  /** What offsets and lengths are multiples of. */
  readonly minimumBlockBytes: number;
  /** What suits it; 0 where the server does not say. */
  readonly preferredBlockBytes: number;
  /** Most bytes of one read or write. */
  readonly maximumPayloadBytes: number;
  /** The server can answer in chunks. */
  readonly structuredReplies: boolean;
  /** The server has headers with 64-bit lengths. */
  readonly extendedHeaders: boolean;
  /** How much of it holds something; null where the server does not tell, or in too many pieces. */
  readonly allocation: NbdAllocation | null;
}

/** What an export can, by its flag. */
const CAPABILITIES: readonly (readonly [flag: number, name: string])[] = [
  [ExportFlag.sendFlush, "FLUSH"],
  [ExportFlag.sendFua, "FUA"],
  [ExportFlag.sendTrim, "TRIM"],
  [ExportFlag.sendWriteZeroes, "WRITE_ZEROES"],
  [ExportFlag.sendFastZero, "FAST_ZERO"],
  [ExportFlag.sendDf, "DF"],
  [ExportFlag.sendCache, "CACHE"],
  [ExportFlag.multiConn, "MULTI_CONN"],
  [ExportFlag.rotational, "ROTATIONAL"],
];

/** Asks a server what an export is, and which parts of it hold something. Rejects with StorageError or RangeError. */
export async function surveyNbd(target: string): Promise<NbdExportReport> {
  const address = parseNbdAddress(target);
  refuseTls(target, address);
  const { exportName } = address;
  const wish = { exportName, structuredReplies: true, extendedHeaders: true, metaContexts: [ALLOCATION_CONTEXT] };
  const dialled = await dialSoon({ addresses: await addressesOf(address), wish, target }, ANSWER_MS);
  try {
    const { flags, contexts: _, ...facts } = dialled.facts;
    return {
      target,
      exportName,
      ...facts,
      readOnly: (flags & ExportFlag.readOnly) !== 0,
      can: CAPABILITIES.filter(([flag]) => (flags & flag) !== 0).map(([, name]) => name),
      allocation: await new StatusAsker(dialled, target).ask(),
    };
  } finally {
    closeSocket(dialled.fd);
  }
}

/** Asks for the status of block after block, one request at a time. */
class StatusAsker implements ReplySink {
  readonly #fd: number;
  readonly #facts: ExportFacts;
  readonly #target: string;
  readonly #parser: ReplyParser;
  #input: Uint8Array;
  #position = 0;
  #dataBytes = 0;
  #zeroBytes = 0;
  #extentCount = 0;
  #isDone = false;
  #failed = false;

  constructor({ fd, facts, rest }: Dialled, target: string) {
    this.#fd = fd;
    this.#facts = facts;
    this.#target = target;
    this.#parser = new ReplyParser(this, facts);
    this.#input = rest;
  }

  async ask(): Promise<NbdAllocation | null> {
    const { contexts, sizeBytes } = this.#facts;
    if (!contexts.has(ALLOCATION_CONTEXT)) return null;
    try {
      for (let requests = 0; this.#position < sizeBytes; requests++) {
        const before = this.#position;
        if (requests === MAX_REQUESTS) return null;
        await this.#exchange(Command.blockStatus, before, Math.min(MAX_RANGE_BYTES, sizeBytes - before));
        if (this.#failed || this.#position === before) return null;
      }
      this.#send(Command.disconnect, 0, 0);
    } catch (error) {
      if (!(error instanceof NbdProtocolError)) throw error;
      const detail = `the server broke the protocol: ${error.message}`;
      throw new StorageError({
        kind: "io",
        op: "map",
        target: this.#target,
        errno: Errno.EPROTO,
        detail,
        cause: error,
      });
    }
    return { dataBytes: this.#dataBytes, zeroBytes: this.#zeroBytes, extentCount: this.#extentCount };
  }

  status(_high: number, _low: number, context: number, bytes: Uint8Array, width: 4 | 8): void {
    if (context !== this.#facts.contexts.get(ALLOCATION_CONTEXT)) return;
    for (let at = 0; at < bytes.length && this.#position < this.#facts.sizeBytes; at += 2 * width) {
      const length = width === 4 ? readU32(bytes, at) : readU64(bytes, at);
      const flags = width === 4 ? readU32(bytes, at + 4) : readU64(bytes, at + 8);
      if (length === 0) throw new NbdProtocolError("an extent has no bytes");
      // The last one may reach beyond what was asked.
      const counted = Math.min(length, this.#facts.sizeBytes - this.#position);
      if ((flags & (AllocationFlag.hole | AllocationFlag.zero)) !== 0) this.#zeroBytes += counted;
      else this.#dataBytes += counted;
      this.#position += counted;
      this.#extentCount++;
    }
  }

  simple(_high: number, _low: number, errno: number): number {
    this.#failed = errno !== 0;
    this.#isDone = true;
    return 0;
  }

  error(): void {
    this.#failed = true;
  }

  done(): void {
    this.#isDone = true;
  }

  data(): void {
    throw new NbdProtocolError("it sends data, and was not asked");
  }

  hole(): void {
    this.data();
  }

  store(): void {}

  stored(): void {}

  #send(command: number, offset: number, length: number): void {
    const bytes = new Uint8Array(EXTENDED_REQUEST_BYTES);
    const write = this.#facts.extendedHeaders ? writeExtendedRequest : writeRequest;
    // One request at a time fits every socket.
    send(this.#fd, bytes.subarray(0, write(bytes, 0, 0, command, 0, 1, offset, length)), [], this.#target);
  }

  async #exchange(command: number, offset: number, length: number): Promise<void> {
    this.#isDone = false;
    this.#send(command, offset, length);
    const buffer = new Uint8Array(RECEIVE_BYTES);
    const deadlineMs = performance.now() + ANSWER_MS;
    for (;;) {
      this.#input = this.#input.slice(this.#parser.feed(this.#input, 0, this.#input.length));
      if (this.#isDone) return;
      const received = receive(this.#fd, buffer, this.#target);
      if (received?.byteLength === 0) throw new NbdProtocolError("it has closed the connection");
      if (received !== null) {
        const joined = new Uint8Array(this.#input.length + received.byteLength);
        joined.set(this.#input);
        joined.set(buffer.subarray(0, received.byteLength), this.#input.length);
        this.#input = joined;
        continue;
      }
      const leftMs = Math.ceil(deadlineMs - performance.now());
      if (leftMs <= 0) throw slowServer(this.#target, ANSWER_MS, "answered");
      await pollSoon(this.#fd, READABLE, leftMs);
    }
  }
}
