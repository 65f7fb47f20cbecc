import { concat, type Handshake, type HandshakeStep } from "./handshake.ts";
import {
  ALLOCATION_CONTEXT,
  HandshakeFlag,
  Info,
  Magic,
  NbdProtocolError,
  Option,
  OPTION_BYTES,
  OPTION_REPLY_BYTES,
  OptionReply,
  PADDING_BYTES,
  readU16,
  readU32,
  writeU16,
  writeU32,
  writeU64,
} from "./protocol.ts";

/** What a server offers. */
export interface ServedExport {
  /** Name of the one export; empty for the default. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Bits of ExportFlag. */
  readonly flags: number;
  readonly minimumBlockBytes: number;
  readonly preferredBlockBytes: number;
  readonly maximumPayloadBytes: number;
}

/** What a client has chosen. */
export interface ClientChoice {
  readonly structuredReplies: boolean;
  readonly extendedHeaders: boolean;
  /** It may ask for the status of blocks. */
  readonly wantsStatus: boolean;
}

/** Number of the context base:allocation in replies. */
export const ALLOCATION_CONTEXT_ID = 1;

/** Bytes of the longest option that makes sense: names and queries. What is longer ends the connection. */
const MAX_OPTION_BYTES = 65_536;

/** Options of one client: more is no negotiation. */
const MAX_OPTIONS = 256;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One option, and what was agreed upon so far. */
interface Negotiation {
  readonly offer: ServedExport;
  readonly noZeroes: boolean;
  structuredReplies: boolean;
  extendedHeaders: boolean;
  /** For which export contexts were asked; null where they were not. */
  contextsOf: string | null;
}

/**
 * The server's side of the negotiation, up to the first request; null for a client that leaves. Throws NbdProtocolError for one
 * that does not speak NBD.
 */
export function* welcome(offer: ServedExport): Handshake<ClientChoice | null> {
  const greeting = new Uint8Array(18);
  writeU32(greeting, 0, Magic.initHigh);
  writeU32(greeting, 4, Magic.initLow);
  writeU32(greeting, 8, Magic.optionHigh);
  writeU32(greeting, 12, Magic.optionLow);
  writeU16(greeting, 16, HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes);
  const flags = readU32(yield { send: greeting, need: 4 }, 0);
  if ((flags & HandshakeFlag.fixedNewstyle) === 0 || flags > 3) {
    throw new NbdProtocolError(`it answers the greeting with flags 0x${flags.toString(16)}`);
  }
  const noZeroes = (flags & HandshakeFlag.noZeroes) !== 0;
  const state: Negotiation = {
    offer,
    noZeroes,
    structuredReplies: false,
    extendedHeaders: false,
    contextsOf: null,
  };
  for (let options = 0; options < MAX_OPTIONS; options++) {
    const header = yield { send: null, need: OPTION_BYTES };
    if (readU32(header, 0) !== Magic.optionHigh || readU32(header, 4) !== Magic.optionLow) {
      throw new NbdProtocolError("an option does not begin as one");
    }
    const option = readU32(header, 8);
    const byteLength = readU32(header, 12);
    if (byteLength > MAX_OPTION_BYTES) {
      throw new NbdProtocolError(`option ${option} has ${byteLength} bytes; wanted at most ${MAX_OPTION_BYTES}`);
    }
    const data = byteLength === 0 ? new Uint8Array(0) : yield { send: null, need: byteLength };
    const end = yield* answer(option, data, state);
    if (end !== undefined) return end;
  }
  throw new NbdProtocolError(`it negotiates with more than ${MAX_OPTIONS} options`);
}

/** What ends the negotiation, or undefined. */
type End = ClientChoice | null | undefined;

function* answer(option: number, data: Uint8Array, state: Negotiation): Generator<HandshakeStep, End, Uint8Array> {
  const reply = (type: number, ...parts: Uint8Array[]) => ({ send: replyBytes(option, type, concat(parts)), need: 0 });
  const refuse = (type: number, text: string) => reply(type, encoder.encode(text));
  switch (option) {
    case Option.abort:
      yield reply(OptionReply.ack);
      return null;
    case Option.exportName: {
      // There is no way to say no but to leave.
      if (decoder.decode(data) !== state.offer.name) return null;
      yield { send: oldExport(state), need: 0 };
      return choiceOf(state);
    }
    case Option.list:
      if (data.length > 0) yield refuse(OptionReply.errInvalid, "a list wants no data");
      else {
        yield reply(OptionReply.server, text(state.offer.name));
        yield reply(OptionReply.ack);
      }
      return undefined;
    case Option.startTls:
      yield refuse(OptionReply.errPolicy, "this server speaks no TLS");
      return undefined;
    case Option.structuredReply:
    case Option.extendedHeaders:
      if (data.length > 0) yield refuse(OptionReply.errInvalid, "the option wants no data");
      else if (option === Option.structuredReply && state.extendedHeaders) {
        yield refuse(OptionReply.errExtendedHeadersRequired, "extended headers have been agreed upon");
      } else {
        if (option === Option.extendedHeaders) state.extendedHeaders = true;
        state.structuredReplies = true;
        yield reply(OptionReply.ack);
      }
      return undefined;
    case Option.listMetaContext:
    case Option.setMetaContext:
      yield* contexts(option, data, state);
      return undefined;
    case Option.info:
    case Option.go:
      return yield* describe(option, data, state);
    default:
      yield refuse(OptionReply.errUnsupported, `option ${option} is unknown`);
      return undefined;
  }
}

function choiceOf({ structuredReplies, extendedHeaders, contextsOf, offer }: Negotiation): ClientChoice {
  return { structuredReplies, extendedHeaders, wantsStatus: contextsOf === offer.name };
}

function* describe(option: number, data: Uint8Array, state: Negotiation): Generator<HandshakeStep, End, Uint8Array> {
  const { offer } = state;
  const say = (type: number, body: Uint8Array) => ({ send: replyBytes(option, type, body), need: 0 });
  const nameBytes = data.length < 6 ? -1 : readU32(data, 0);
  const infoCount = nameBytes >= 0 && nameBytes <= data.length - 6 ? readU16(data, 4 + nameBytes) : -1;
  if (infoCount < 0 || data.length !== 6 + nameBytes + 2 * infoCount) {
    yield say(OptionReply.errInvalid, encoder.encode("the lengths do not fit"));
    return undefined;
  }
  if (decoder.decode(data.subarray(4, 4 + nameBytes)) !== offer.name) {
    yield say(OptionReply.errUnknown, encoder.encode("there is no export of this name"));
    return undefined;
  }
  const asked = Array.from({ length: infoCount }, (_, index) => readU16(data, 6 + nameBytes + 2 * index));
  if (offer.minimumBlockBytes > 1 && !asked.includes(Info.blockSize)) {
    const wanted = `blocks have ${offer.minimumBlockBytes} bytes; wanted a client that asks for their size`;
    yield say(OptionReply.errBlockSizeRequired, encoder.encode(wanted));
    return undefined;
  }
  const sizes = new Uint8Array(14);
  writeU16(sizes, 0, Info.blockSize);
  writeU32(sizes, 2, offer.minimumBlockBytes);
  writeU32(sizes, 6, offer.preferredBlockBytes);
  writeU32(sizes, 10, offer.maximumPayloadBytes);
  const facts = new Uint8Array(12);
  writeU16(facts, 0, Info.export);
  writeU64(facts, 2, offer.sizeBytes);
  writeU16(facts, 10, offer.flags);
  yield say(OptionReply.info, facts);
  if (asked.includes(Info.blockSize)) yield say(OptionReply.info, sizes);
  if (asked.includes(Info.name)) {
    yield say(OptionReply.info, concat([Uint8Array.of(0, Info.name), encoder.encode(offer.name)]));
  }
  yield say(OptionReply.ack, new Uint8Array(0));
  return option === Option.go ? choiceOf(state) : undefined;
}

/** Answers the queries that mean the one context that there is. */
function* contexts(
  option: number,
  data: Uint8Array,
  state: Negotiation,
): Generator<HandshakeStep, void, Uint8Array> {
  const say = (type: number, body: Uint8Array) => ({ send: replyBytes(option, type, body), need: 0 });
  const isSet = option === Option.setMetaContext;
  if (isSet) state.contextsOf = null;
  const parsed = parseQueries(data);
  if (parsed === null) return void (yield say(OptionReply.errInvalid, encoder.encode("the lengths do not fit")));
  if (isSet && !state.structuredReplies) {
    return void (yield say(OptionReply.errInvalid, encoder.encode("contexts want structured replies first")));
  }
  const { name, queries } = parsed;
  if (name !== state.offer.name) {
    return void (yield say(OptionReply.errUnknown, encoder.encode("there is no export of this name")));
  }
  const isAll = !isSet && (queries.length === 0 || queries.includes("base:"));
  if (isAll || queries.includes(ALLOCATION_CONTEXT)) {
    const id = new Uint8Array(4);
    writeU32(id, 0, isSet ? ALLOCATION_CONTEXT_ID : 0);
    if (isSet) state.contextsOf = name;
    yield say(OptionReply.metaContext, concat([id, encoder.encode(ALLOCATION_CONTEXT)]));
  }
  yield say(OptionReply.ack, new Uint8Array(0));
}

function parseQueries(data: Uint8Array): { readonly name: string; readonly queries: readonly string[] } | null {
  const texts: string[] = [];
  let at = 0;
  const take = (): boolean => {
    if (at + 4 > data.length) return false;
    const end = at + 4 + readU32(data, at);
    if (end > data.length) return false;
    texts.push(decoder.decode(data.subarray(at + 4, end)));
    at = end;
    return true;
  };
  if (!take() || at + 4 > data.length) return null;
  const count = readU32(data, at);
  at += 4;
  for (let index = 0; index < count; index++) if (!take()) return null;
  return at === data.length ? { name: texts[0]!, queries: texts.slice(1) } : null;
}

function oldExport({ offer, noZeroes }: Negotiation): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(10 + (noZeroes ? 0 : PADDING_BYTES));
  writeU64(bytes, 0, offer.sizeBytes);
  writeU16(bytes, 8, offer.flags);
  return bytes;
}

function text(value: string): Uint8Array {
  const bytes = encoder.encode(value);
  const length = new Uint8Array(4);
  writeU32(length, 0, bytes.length);
  return concat([length, bytes]);
}

function replyBytes(option: number, type: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(OPTION_REPLY_BYTES);
  writeU32(header, 0, Magic.optionReplyHigh);
  writeU32(header, 4, Magic.optionReplyLow);
  writeU32(header, 8, option);
  writeU32(header, 12, type);
  writeU32(header, 16, body.length);
  return concat([header, body]);
}
