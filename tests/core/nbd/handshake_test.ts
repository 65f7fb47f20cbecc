/** The client's side of NBD's negotiation, against bytes as servers send them, cut anywhere. */
import assert from "node:assert/strict";
import { type ExportFacts, type HandshakeWish, NbdRefusal, negotiate } from "../../../core/nbd/handshake.ts";
import { HandshakeRunner } from "../../../core/nbd/handshake_runner.ts";
import { Info, Option, OptionReply } from "../../../core/nbd/protocol.ts";
import { ascii, bytesOf, exportInfo, greeting, optionReply, u16, u32, u64 } from "../../support/nbd_bytes.ts";

const BLOCK_SIZES = optionReply(Option.go, OptionReply.info, [u16(Info.blockSize), u32(512), u32(4096), u32(1 << 20)]);
const ACK = optionReply(Option.go, OptionReply.ack, []);

/** Everything that a server sends, for a client that asks for nothing special. */
const USUAL = bytesOf([greeting(3), exportInfo(1 << 30, 0x16d), BLOCK_SIZES, ACK]);

/** Runs a handshake on `bytes`, fed in pieces of `pieceBytes`; returns what came out and what was sent. */
function run(bytes: Uint8Array, wish: Partial<HandshakeWish> = {}, pieceBytes = Infinity) {
  const runner = new HandshakeRunner(negotiate({ exportName: "", ...wish }));
  const sent: number[] = [];
  const takeAll = () => {
    for (let out = runner.takeOutput(); out !== null; out = runner.takeOutput()) sent.push(...out);
  };
  takeAll();
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    runner.feed(bytes.subarray(at, Math.min(bytes.length, at + pieceBytes)));
    takeAll();
  }
  return { facts: runner.result?.value ?? null, rest: [...runner.rest], sent, missing: runner.missingBytes };
}

function refusalOf(bytes: Uint8Array, wish: Partial<HandshakeWish> = {}): Error {
  try {
    run(bytes, wish);
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  throw new Error("expected the handshake to fail");
}

Deno.test("OPT_GO tells size, flags and block sizes, however its bytes are cut", () => {
  const wanted: ExportFacts = {
    sizeBytes: 1 << 30,
    flags: 0x16d,
    minimumBlockBytes: 512,
    preferredBlockBytes: 4096,
    maximumPayloadBytes: 1 << 20,
    structuredReplies: false,
    extendedHeaders: false,
    contexts: new Map(),
    description: "",
  };
  const whole = run(USUAL);
  assert.deepEqual(whole.facts, wanted);
  for (let pieceBytes = 1; pieceBytes < USUAL.length; pieceBytes++) {
    assert.deepEqual(run(USUAL, {}, pieceBytes), whole, `in pieces of ${pieceBytes}`);
  }
  for (let at = 0; at < USUAL.length; at++) {
    const part = run(USUAL.subarray(0, at));
    assert.equal(part.facts, null, `after ${at} bytes`);
    assert.ok(part.missing > 0);
  }
});

Deno.test("bytes behind the handshake are kept for the replies", () => {
  assert.deepEqual(run(bytesOf([USUAL, Uint8Array.of(1, 2, 3)])).rest, [1, 2, 3]);
});

Deno.test("the client answers the flags that it knows and names the export in UTF-8", () => {
  const { sent } = run(USUAL, { exportName: "plätte/%" });
  const name = [...new TextEncoder().encode("plätte/%")];
  assert.deepEqual(sent.slice(0, 4), [0, 0, 0, 3]);
  assert.deepEqual(sent.slice(4, 12), [...ascii("IHAVEOPT")]);
  assert.deepEqual(sent.slice(12, 16), [0, 0, 0, Option.go]);
  assert.deepEqual(sent.slice(20, 24 + name.length), [0, 0, 0, name.length, ...name]);
});

Deno.test("a server without OPT_GO is asked by the old option, and its padding is read", () => {
  for (const [flags, padding] of [[3, 0], [1, 124]] as const) {
    const unsupported = optionReply(Option.go, OptionReply.errUnsupported, []);
    const bytes = bytesOf([greeting(flags), unsupported, u64(4096), u16(5), new Uint8Array(padding), Uint8Array.of(9)]);
    const { facts, rest } = run(bytes);
    assert.deepEqual([facts?.sizeBytes, facts?.flags, facts?.minimumBlockBytes], [4096, 5, 1]);
    assert.deepEqual(rest, [9]);
  }
});

Deno.test("structured replies, extended headers and contexts are what both sides have", () => {
  const no = (option: number) => optionReply(option, OptionReply.errUnsupported, []);
  const yes = (option: number) => optionReply(option, OptionReply.ack, []);
  const tail = [exportInfo(4096, 1), ACK];
  const context = optionReply(Option.setMetaContext, OptionReply.metaContext, [u32(7), ascii("base:allocation")]);
  const wish = { structuredReplies: true, extendedHeaders: true, metaContexts: ["base:allocation"] };

  const extended = run(bytesOf([greeting(3), yes(11), context, yes(Option.setMetaContext), ...tail]), wish).facts;
  assert.deepEqual([extended?.extendedHeaders, extended?.structuredReplies], [true, true]);
  assert.deepEqual([...extended!.contexts], [["base:allocation", 7]]);

  const structured = run(bytesOf([greeting(3), no(11), yes(8), yes(Option.setMetaContext), ...tail]), wish).facts;
  assert.deepEqual([structured?.extendedHeaders, structured?.structuredReplies], [false, true]);
  assert.equal(structured?.contexts.size, 0);

  const simple = run(bytesOf([greeting(3), no(11), no(8), ...tail]), wish).facts;
  assert.deepEqual([simple?.extendedHeaders, simple?.structuredReplies], [false, false]);
});

Deno.test("what is no fixed newstyle NBD is refused in words that tell what it is", () => {
  const cases: readonly (readonly [Uint8Array, RegExp])[] = [
    [ascii("SSH-2.0-OpenSSH_9.2\r\n"), /greeting is not that of NBD/],
    [new Uint8Array(18), /greeting is not that of NBD/],
    [bytesOf([ascii("NBDMAGIC"), u64(0x00420281861253), u64(4096)]), /oldstyle handshake; wanted fixed newstyle/],
    [bytesOf([ascii("NBDMAGICXXXXXXXX"), u16(3)]), /greeting is not that of NBD/],
    [greeting(2), /not fixed; wanted fixed newstyle/],
    [bytesOf([greeting(3), new Uint8Array(20)]), /does not begin as one/],
    [bytesOf([greeting(3), optionReply(Option.list, OptionReply.ack, [])]), /answered option 3, and was asked 7/],
    [bytesOf([greeting(3), ACK]), /does not say how large/],
    [bytesOf([greeting(3), optionReply(Option.go, 77, [])]), /reply 77/],
    [bytesOf([greeting(3), optionReply(Option.go, OptionReply.info, [u16(0), u32(1)])]), /in 6 bytes/],
    [bytesOf([greeting(3), optionReply(Option.go, OptionReply.info, [])]), /in 0 bytes/],
    [
      bytesOf([greeting(3), optionReply(Option.go, OptionReply.info, []).subarray(0, 16), u32(1 << 24)]),
      /16777216 bytes/,
    ],
  ];
  for (const [bytes, message] of cases) assert.match(refusalOf(bytes).message, message);
});

Deno.test("blocks and sizes that no client can use are refused", () => {
  const withBlocks = (minimum: number, maximum: number) =>
    bytesOf([
      greeting(3),
      exportInfo(1 << 20, 1),
      optionReply(Option.go, OptionReply.info, [u16(Info.blockSize), u32(minimum), u32(minimum), u32(maximum)]),
      ACK,
    ]);
  for (const minimum of [0, 3, 131_072, 0x8000_0000]) {
    assert.match(refusalOf(withBlocks(minimum, 0xffff_ffff)).message, /wanted a power of two up to 65536/);
  }
  assert.match(refusalOf(withBlocks(4096, 512)).message, /takes at most 512 bytes/);
  const huge = bytesOf([
    greeting(3),
    optionReply(Option.go, OptionReply.info, [u16(0), u32(1 << 22), u32(0), u16(1)]),
    ACK,
  ]);
  assert.match(refusalOf(huge).message, /larger than 2\^53/);
});

Deno.test("the server's refusals are named, in its own words where it has some", () => {
  const cases = [
    [OptionReply.errUnknown, "no such disk", /no such export, and says "no such disk"/],
    [OptionReply.errTlsRequired, "", /it wants TLS/],
    [OptionReply.errPolicy, "", /it refuses/],
    [OptionReply.errShutdown, "", /shutting down/],
    [0x8000_0042, "", /error 66/],
  ] as const;
  for (const [type, text, message] of cases) {
    const error = refusalOf(bytesOf([greeting(3), optionReply(Option.go, type, [ascii(text)])]));
    assert.ok(error instanceof NbdRefusal);
    assert.equal(error.reply, type);
    assert.match(error.message, message);
  }
});

Deno.test("a server that describes without an end is stopped", () => {
  const info = optionReply(Option.go, OptionReply.info, [u16(Info.name), ascii("x")]);
  assert.match(refusalOf(bytesOf([greeting(3), ...new Array<Uint8Array>(1100).fill(info)])).message, /without an end/);
});
