/** Replies taken apart: every kind, cut at every byte, and what no server may send. */
import assert from "node:assert/strict";
import { ReplyParser, type ReplySink } from "../../../core/nbd/reply_parser.ts";
import { ascii, bytesOf, chunk, extendedChunk, simpleReply, u16, u32, u64 } from "../../support/nbd_bytes.ts";

/** Writes down what it is told; reads are those of cookies below 100, 8 bytes each. */
class Recorder implements ReplySink {
  readonly told: string[] = [];
  #stored: number[] = [];

  simple(high: number, low: number, errno: number): number {
    this.told.push(`simple ${high}.${low} ${errno}`);
    return errno === 0 && low < 100 ? 8 : 0;
  }
  data(high: number, low: number, offset: number, byteLength: number): void {
    this.told.push(`data ${high}.${low} ${offset}+${byteLength}`);
    this.#stored = [];
  }
  hole(_high: number, low: number, offset: number, byteLength: number): void {
    this.told.push(`hole ${low} ${offset}+${byteLength}`);
  }
  error(_high: number, low: number, errno: number): void {
    this.told.push(`error ${low} ${errno}`);
  }
  status(_high: number, low: number, context: number, bytes: Uint8Array, width: 4 | 8): void {
    this.told.push(`status ${low} ${context} ${bytes.length}/${width}`);
  }
  store(bytes: Uint8Array, start: number, end: number): void {
    this.#stored.push(...bytes.subarray(start, end));
    if (this.#stored.length >= 8) this.told.push(`bytes ${this.#stored.splice(0).join(" ")}`);
  }
  stored(): void {
    this.told.push("stored");
  }
  done(high: number, low: number): void {
    this.told.push(`done ${high}.${low}`);
  }
}

/** What a parser tells of `bytes`, fed in the given pieces. */
function told(bytes: Uint8Array, kind: "simple" | "structured" | "extended", cuts: readonly number[] = []): string[] {
  const recorder = new Recorder();
  const structuredReplies = kind !== "simple";
  const parser = new ReplyParser(recorder, { structuredReplies, extendedHeaders: kind === "extended" });
  let start = 0;
  for (const end of [...cuts, bytes.length]) start = parser.feed(bytes, start, end);
  assert.equal(start, bytes.length, "all is taken in");
  return recorder.told;
}

const EIGHT = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

const SIMPLE = bytesOf([
  simpleReply(0x1_0000_0005n),
  EIGHT,
  simpleReply(200n),
  simpleReply(6n, 5),
  simpleReply(7n, 9999),
  simpleReply(8n),
  EIGHT,
]);

const STRUCTURED = bytesOf([
  chunk(3n, 1, [u64(4096), EIGHT], 0),
  chunk(4n, 2, [u64(8192), u32(512)], 0),
  chunk(3n, 0x8002, [u32(5), u16(3), ascii("bad"), u64(4100)], 0),
  chunk(3n, 0, []),
  simpleReply(200n),
  chunk(4n, 1, [u64(0), EIGHT]),
  chunk(9n, 5, [u32(2), u32(4096), u32(3)]),
  chunk(10n, 0x8077, [u32(28), u16(0)]),
]);

const EXTENDED = bytesOf([
  extendedChunk(3n, 0, 1, [u64(2 ** 40), EIGHT]),
  extendedChunk(4n, 0, 6, [u32(2), u32(1), u64(2 ** 40), u64(3)]),
  extendedChunk(5n, 0, 0, []),
]);

Deno.test("simple replies bring payloads and errors by their cookies", () => {
  assert.deepEqual(told(SIMPLE, "simple"), [
    "simple 1.5 0",
    "bytes 1 2 3 4 5 6 7 8",
    "stored",
    "simple 0.200 0",
    "simple 0.6 5",
    "simple 0.7 22",
    "simple 0.8 0",
    "bytes 1 2 3 4 5 6 7 8",
    "stored",
  ]);
});

Deno.test("structured replies come in chunks, between each other, and with errors after data", () => {
  assert.deepEqual(told(STRUCTURED, "structured"), [
    "data 0.3 4096+8",
    "bytes 1 2 3 4 5 6 7 8",
    "hole 4 8192+512",
    "error 3 5",
    "done 0.3",
    "simple 0.200 0",
    "data 0.4 0+8",
    "bytes 1 2 3 4 5 6 7 8",
    "done 0.4",
    "status 9 2 8/4",
    "done 0.9",
    "error 10 28",
    "done 0.10",
  ]);
});

Deno.test("extended headers bring offsets and lengths of 64 bits", () => {
  assert.deepEqual(told(EXTENDED, "extended"), [
    "data 0.3 1099511627776+8",
    "bytes 1 2 3 4 5 6 7 8",
    "done 0.3",
    "status 4 2 16/8",
    "done 0.4",
    "done 0.5",
  ]);
});

for (const [kind, bytes] of [["simple", SIMPLE], ["structured", STRUCTURED], ["extended", EXTENDED]] as const) {
  Deno.test(`${kind} replies tell the same wherever they are cut, once or at every byte`, () => {
    const whole = told(bytes, kind);
    for (let at = 0; at <= bytes.length; at++) assert.deepEqual(told(bytes, kind, [at]), whole, `cut at ${at}`);
    assert.deepEqual(told(bytes, kind, Array.from(bytes.keys())), whole);
  });
}

Deno.test("payload that goes around the parser counts as if it had come through it", () => {
  const recorder = new Recorder();
  const parser = new ReplyParser(recorder, { structuredReplies: false, extendedHeaders: false });
  const bytes = bytesOf([simpleReply(5n), EIGHT.subarray(0, 3)]);
  assert.equal(parser.feed(bytes, 0, bytes.length), bytes.length);
  assert.equal(parser.payloadLeft, 5);
  parser.received(2);
  assert.equal(parser.payloadLeft, 3);
  parser.received(3);
  assert.equal(parser.payloadLeft, 0);
  assert.deepEqual(recorder.told, ["simple 0.5 0", "stored"]);
});

Deno.test("what no server may send breaks the protocol", () => {
  const cases: readonly (readonly ["simple" | "structured" | "extended", Uint8Array, RegExp])[] = [
    ["simple", u32(0x12345678), /begins with 0x12345678/],
    ["simple", chunk(1n, 0, []), /begins with 0x668e33ef/],
    ["structured", extendedChunk(1n, 0, 0, []), /begins with 0x6e8a278c/],
    ["extended", simpleReply(1n), /begins with 0x67446698/],
    ["extended", chunk(1n, 0, []), /begins with 0x668e33ef/],
    ["structured", chunk(1n, 3, []), /has type 3/],
    ["structured", chunk(1n, 0, [u32(1)]), /nothing has 4 bytes/],
    ["structured", chunk(1n, 0, [], 0), /does not end its reply/],
    ["structured", chunk(1n, 1, [u64(0)]), /data has 8 bytes/],
    ["structured", chunk(1n, 2, [u64(0)]), /hole has 8 bytes/],
    ["structured", chunk(1n, 5, [u32(1), u32(1)]), /status has 8 bytes/],
    ["structured", chunk(1n, 5, [u32(1), u32(1), u32(1), u32(1)]), /status has 16 bytes/],
    ["structured", chunk(1n, 0x8001, [u32(1)]), /error has 4 bytes/],
    ["extended", extendedChunk(1n, 0, 6, [u32(1), u32(9), u64(1), u64(1)]), /counts other extents/],
    ["structured", bytesOf([u32(0x668e33ef), u16(1), u16(5), u64(1), u32(0x7fff_ffff)]), /status has 2147483647 bytes/],
  ];
  for (const [kind, bytes, message] of cases) {
    assert.throws(() => told(bytes, kind), { name: "NbdProtocolError", message });
  }
});
