import {
  DEFAULT_MAX_PAYLOAD_BYTES,
  HandshakeFlag,
  Info,
  Magic,
  MAX_MINIMUM_BLOCK_BYTES,
  NbdProtocolError,
  Option,
  OPTION_BYTES,
  OPTION_REPLY_BYTES,
  OptionReply,
  PADDING_BYTES,
  readU16,
  readU32,
  readU64,
  writeU16,
  writeU32,
} from "./protocol.ts";

/** What a handshake does next: sends these bytes, if there are any, and then wants so many. */
export interface HandshakeStep {
  readonly send: Uint8Array<ArrayBuffer> | null;
  readonly need: number;
}

/** A handshake: yields steps, is given exactly the bytes that it needs, and returns what came out. */
export type Handshake<Result> = Generator<HandshakeStep, Result, Uint8Array>;

/** What a client asks for. */
export interface HandshakeWish {
  /** Name of the export; empty for the server's default. */
  readonly exportName: string;
  /** Replies in chunks. Default false. */
  readonly structuredReplies?: boolean;
  /** Headers with 64-bit lengths, where the server has them. Default false. */
  readonly extendedHeaders?: boolean;
  /** Contexts for block status; they want structured replies. Default none. */
  readonly metaContexts?: readonly string[];
}

/** What was agreed upon, and what the export is. */
export interface ExportFacts {
  readonly sizeBytes: number;
  /** Bits of ExportFlag. */
  readonly flags: number;
  /** Bytes that offsets and lengths are multiples of. 1 where the server does not say. */
  readonly minimumBlockBytes: number;
  /** Bytes that suit the export; 0 where the server does not say. */
  readonly preferredBlockBytes: number;
  /** Most bytes of payload. */
  readonly maximumPayloadBytes: number;
  readonly structuredReplies: boolean;
  readonly extendedHeaders: boolean;
  /** Numbers of the contexts that were agreed upon. */
  readonly contexts: ReadonlyMap<string, number>;
  /** What the server says of the export; empty where it says nothing. */
  readonly description: string;
}

/** The server refuses, in its own words where it has some. */
export class NbdRefusal extends Error {
  override readonly name = "NbdRefusal";
  /** One of OptionReply. */
  readonly reply: number;

  constructor(reply: number, message: string) {
    super(message);
    this.reply = reply;
  }
}

/** Bytes of the longest reply to an option that makes sense: a message or a name, and some more. */
const MAX_OPTION_REPLY_BYTES = 65_536;

/** Replies to one option: one for each context of a server, say. */
const MAX_OPTION_REPLIES = 1_024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One reply to an option. */
interface Reply {
  readonly type: number;
  readonly data: Uint8Array;
}

/** Facts while they are collected. */
type Collected = { -readonly [Key in keyof ExportFacts]: ExportFacts[Key] } & { hasExport: boolean };

/**
 * The client's side of the negotiation, up to the first request. Throws NbdProtocolError for what is no NBD, NbdRefusal for a
 * server that does not want.
 */
export function* negotiate(wish: HandshakeWish): Handshake<ExportFacts> {
  const noZeroes = yield* greet();
  const facts: Collected = {
    sizeBytes: 0,
    flags: 0,
    minimumBlockBytes: 1,
    preferredBlockBytes: 0,
    maximumPayloadBytes: DEFAULT_MAX_PAYLOAD_BYTES,
    structuredReplies: false,
    extendedHeaders: false,
    contexts: new Map(),
    description: "",
    hasExport: false,
  };
  const { metaContexts = [], extendedHeaders = false, structuredReplies = false } = wish;
  if (extendedHeaders) facts.extendedHeaders = yield* agree(Option.extendedHeaders);
  facts.structuredReplies = facts.extendedHeaders;
  if (!facts.extendedHeaders && (structuredReplies || metaContexts.length > 0)) {
    facts.structuredReplies = yield* agree(Option.structuredReply);
  }
  if (facts.structuredReplies && metaContexts.length > 0) facts.contexts = yield* setContexts(wish);
  if (!(yield* go(wish.exportName, facts))) yield* exportName(wish.exportName, facts, noZeroes);
  const { hasExport: _, ...agreed } = facts;
  checkFacts(agreed);
  return agreed;
}

function* greet(): Handshake<boolean> {
  const greeting = yield { send: null, need: 18 };
  if (readU32(greeting, 0) !== Magic.initHigh || readU32(greeting, 4) !== Magic.initLow) {
    throw new NbdProtocolError("its greeting is not that of NBD");
  }
  const high = readU32(greeting, 8);
  const low = readU32(greeting, 12);
  if (high === Magic.oldHigh && low === Magic.oldLow) {
    throw new NbdProtocolError("it speaks the oldstyle handshake; wanted fixed newstyle");
  }
  if (high !== Magic.optionHigh || low !== Magic.optionLow) {
    throw new NbdProtocolError("its greeting is not that of NBD");
  }
  const flags = readU16(greeting, 16);
  if ((flags & HandshakeFlag.fixedNewstyle) === 0) {
    throw new NbdProtocolError("it speaks the newstyle handshake that is not fixed; wanted fixed newstyle");
  }
  const answer = new Uint8Array(4);
  writeU32(answer, 0, flags & (HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes));
  yield { send: answer, need: 0 };
  return (flags & HandshakeFlag.noZeroes) !== 0;
}

/** Asks for something that a server has or has not. */
function* agree(option: number): Handshake<boolean> {
  yield { send: optionBytes(option, new Uint8Array(0)), need: 0 };
  const { type, data } = yield* reply(option);
  if (type === OptionReply.ack) return true;
  if (type === OptionReply.errTlsRequired) throw refusal(type, data);
  if (isError(type)) return false;
  throw new NbdProtocolError(`it answered option ${option} with reply ${type}`);
}

function* setContexts({ exportName, metaContexts = [] }: HandshakeWish): Handshake<ReadonlyMap<string, number>> {
  const names = metaContexts.map((name) => withLength(encoder.encode(name)));
  const data = concat([withLength(encoder.encode(exportName)), u32(names.length), ...names]);
  yield { send: optionBytes(Option.setMetaContext, data), need: 0 };
  const contexts = new Map<string, number>();
  for (let replies = 0; replies < MAX_OPTION_REPLIES; replies++) {
    const { type, data } = yield* reply(Option.setMetaContext);
    if (type === OptionReply.ack) return contexts;
    if (type === OptionReply.errUnsupported || type === OptionReply.errPolicy) return contexts;
    if (isError(type)) throw refusal(type, data);
    if (type !== OptionReply.metaContext || data.length < 4) {
      throw new NbdProtocolError(`it answered a list of contexts with reply ${type} of ${data.length} bytes`);
    }
    contexts.set(decoder.decode(data.subarray(4)), readU32(data, 0));
  }
  throw new NbdProtocolError("it answers a list of contexts without an end");
}

/** False for a server that has no OPT_GO. */
function* go(name: string, facts: Collected): Handshake<boolean> {
  const infos = new Uint8Array(6);
  writeU16(infos, 0, 2);
  writeU16(infos, 2, Info.blockSize);
  writeU16(infos, 4, Info.description);
  yield { send: optionBytes(Option.go, concat([withLength(encoder.encode(name)), infos])), need: 0 };
  for (let replies = 0; replies < MAX_OPTION_REPLIES; replies++) {
    const { type, data } = yield* reply(Option.go);
    if (type === OptionReply.info) readInfo(data, facts);
    else if (type === OptionReply.errUnsupported) return false;
    else if (isError(type)) throw refusal(type, data);
    else if (type !== OptionReply.ack) {
      throw new NbdProtocolError(`it answered the choice of an export with reply ${type}`);
    } else if (facts.hasExport) return true;
    else throw new NbdProtocolError("it does not say how large the export is");
  }
  throw new NbdProtocolError("it describes the export without an end");
}

/** The way before OPT_GO: no answer but the export, or the end of the connection. */
function* exportName(name: string, facts: Collected, noZeroes: boolean): Handshake<void> {
  const need = 10 + (noZeroes ? 0 : PADDING_BYTES);
  const data = yield { send: optionBytes(Option.exportName, encoder.encode(name)), need };
  facts.sizeBytes = readU64(data, 0);
  facts.flags = readU16(data, 8);
}

function readInfo(data: Uint8Array, facts: Collected): void {
  const kind = data.length < 2 ? -1 : readU16(data, 0);
  if (kind === Info.export && data.length === 12) {
    facts.sizeBytes = readU64(data, 2);
    facts.flags = readU16(data, 10);
    facts.hasExport = true;
  } else if (kind === Info.blockSize && data.length === 14) {
    facts.minimumBlockBytes = readU32(data, 2);
    facts.preferredBlockBytes = readU32(data, 6);
    facts.maximumPayloadBytes = readU32(data, 10);
  } else if (kind === Info.description) {
    facts.description = decoder.decode(data.subarray(2));
  } else if (kind === -1 || kind === Info.export || kind === Info.blockSize) {
    throw new NbdProtocolError(`it describes the export in ${data.length} bytes; wanted as many as the protocol has`);
  }
}

/** What no disk is, and no client can use. */
function checkFacts({ sizeBytes, minimumBlockBytes, maximumPayloadBytes }: ExportFacts): void {
  if (sizeBytes > Number.MAX_SAFE_INTEGER) {
    throw new NbdProtocolError("the export is larger than 2^53 bytes; wanted less");
  }
  const isPower = minimumBlockBytes > 0 && Number.isInteger(Math.log2(minimumBlockBytes));
  if (!isPower || minimumBlockBytes > MAX_MINIMUM_BLOCK_BYTES) {
    throw new NbdProtocolError(
      `it wants blocks of at least ${minimumBlockBytes} bytes; wanted a power of two up to ${MAX_MINIMUM_BLOCK_BYTES}`,
    );
  }
  if (maximumPayloadBytes < minimumBlockBytes) {
    throw new NbdProtocolError(`it takes at most ${maximumPayloadBytes} bytes at a time; wanted a block at least`);
  }
}

function* reply(option: number): Handshake<Reply> {
  const header = yield { send: null, need: OPTION_REPLY_BYTES };
  if (readU32(header, 0) !== Magic.optionReplyHigh || readU32(header, 4) !== Magic.optionReplyLow) {
    throw new NbdProtocolError("a reply to an option does not begin as one");
  }
  const answered = readU32(header, 8);
  const type = readU32(header, 12);
  const byteLength = readU32(header, 16);
  if (answered !== option) throw new NbdProtocolError(`it answered option ${answered}, and was asked ${option}`);
  if (byteLength > MAX_OPTION_REPLY_BYTES) {
    throw new NbdProtocolError(
      `a reply to an option has ${byteLength} bytes; wanted at most ${MAX_OPTION_REPLY_BYTES}`,
    );
  }
  return { type, data: byteLength === 0 ? new Uint8Array(0) : yield { send: null, need: byteLength } };
}

function isError(type: number): boolean {
  return type >= OptionReply.errUnsupported;
}

const REFUSALS: Readonly<Record<number, string>> = {
  [OptionReply.errPolicy]: "it refuses",
  [OptionReply.errInvalid]: "it finds the request invalid",
  [OptionReply.errPlatform]: "its platform cannot",
  [OptionReply.errTlsRequired]: "it wants TLS",
  [OptionReply.errUnknown]: "it has no such export",
  [OptionReply.errShutdown]: "it is shutting down",
  [OptionReply.errBlockSizeRequired]: "it wants a client that knows block sizes",
  [OptionReply.errTooBig]: "it finds the request too big",
  [OptionReply.errExtendedHeadersRequired]: "it wants a client with extended headers",
};

function refusal(reply: number, data: Uint8Array): NbdRefusal {
  const text = decoder.decode(data).trim();
  const meaning = REFUSALS[reply] ?? `it answers with error ${reply - OptionReply.errUnsupported + 1}`;
  return new NbdRefusal(reply, text === "" ? meaning : `${meaning}, and says ${JSON.stringify(text)}`);
}

/** An option of a client. */
function optionBytes(option: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(OPTION_BYTES + data.length);
  writeU32(bytes, 0, Magic.optionHigh);
  writeU32(bytes, 4, Magic.optionLow);
  writeU32(bytes, 8, option);
  writeU32(bytes, 12, data.length);
  bytes.set(data, OPTION_BYTES);
  return bytes;
}

/** Bytes one behind the other. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, value);
  return bytes;
}

function withLength(data: Uint8Array): Uint8Array {
  return concat([u32(data.length), data]);
}
