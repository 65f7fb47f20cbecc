/** The bytes of the key-value log. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  FILE_HEADER_BYTES,
  MAX_KEY_BYTES,
  readFileHeader,
  readRecordBody,
  readRecordHeader,
  RECORD_HEADER_BYTES,
  recordBytes,
  type RecordContent,
  RecordKind,
  writeFileHeader,
  writeRecord,
} from "../../examples/kv_log/record.ts";
import { bytes } from "./support.ts";

const FORMAT = { alignment: 8, salt: 0xdeadbeef };
const PLACE = { sequence: 7, indexInCommit: 3 };

function recordOf(content: RecordContent, format = FORMAT): Uint8Array {
  const to = new Uint8Array(recordBytes(content.key.length, content.value.length, format)).fill(0xff);
  assert.equal(writeRecord(to, content, PLACE, format), to.length);
  return to;
}

function contentOf(record: Uint8Array, format = FORMAT): RecordContent | null {
  const header = readRecordHeader(record, format);
  return header === null ? null : readRecordBody(record, header, format);
}

Deno.test("a record is read as it was written, at any alignment and salt", () => {
  const anyBytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
  const anyFormat = fc.record({ alignment: fc.constantFrom(8, 512, 4096), salt: fc.nat(0xffffffff) });
  fc.assert(fc.property(anyBytes(1, 300), anyBytes(0, 2000), anyFormat, (key, value, format) => {
    const record = recordOf({ kind: RecordKind.set, key, value }, format);
    assert.equal(record.length % format.alignment, 0);
    const header = readRecordHeader(record, format)!;
    assert.deepEqual([header.sequence, header.indexInCommit], [7, 3]);
    const content = readRecordBody(record, header, format)!;
    assert.deepEqual(content, { kind: RecordKind.set, key, value });
  }));
});

Deno.test("a change of any byte of a record is noticed", () => {
  const record = recordOf({ kind: RecordKind.set, key: bytes("key"), value: bytes("some value") });
  for (let at = 0; at < record.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const damaged = record.slice();
      damaged[at]! ^= flip;
      assert.equal(contentOf(damaged), null, `byte ${at} of ${record.length}`);
    }
  }
});

Deno.test("a record that is cut short is noticed", () => {
  const record = recordOf({ kind: RecordKind.delete, key: bytes("key"), value: new Uint8Array(0) });
  for (let length = 0; length < record.length; length++) assert.equal(contentOf(record.subarray(0, length)), null);
});

Deno.test("a record of another file is not one of this file", () => {
  const record = recordOf({ kind: RecordKind.set, key: bytes("key"), value: bytes("value") });
  assert.equal(readRecordHeader(record, { ...FORMAT, salt: 1 }), null);
});

Deno.test("zeroes and text are no records", () => {
  assert.equal(readRecordHeader(new Uint8Array(64), FORMAT), null);
  assert.equal(readRecordHeader(bytes("PKV something else that is long enough"), FORMAT), null);
});

Deno.test("a header whose lengths no writer could have set is refused although its checksum is right", () => {
  for (const key of [new Uint8Array(0), new Uint8Array(MAX_KEY_BYTES + 1)]) {
    assert.equal(contentOf(recordOf({ kind: RecordKind.set, key, value: bytes("value") })), null);
  }
  const kind = 3 as RecordKind;
  assert.equal(contentOf(recordOf({ kind, key: bytes("key"), value: bytes("value") })), null);
});

Deno.test("sequences survive beyond 32 bits", () => {
  const content = { kind: RecordKind.set, key: bytes("key"), value: bytes("value") };
  const record = new Uint8Array(recordBytes(3, 5, FORMAT));
  writeRecord(record, content, { sequence: 2 ** 40 + 1, indexInCommit: 0 }, FORMAT);
  assert.equal(readRecordHeader(record, FORMAT)?.sequence, 2 ** 40 + 1);
  assert.equal(recordBytes(3, 5, FORMAT), RECORD_HEADER_BYTES + 8);
});

Deno.test("the first block says how a file is laid out, and damage to it is noticed", () => {
  const block = new Uint8Array(FILE_HEADER_BYTES);
  writeFileHeader(block, FORMAT);
  assert.deepEqual(readFileHeader(block), FORMAT);
  for (let at = 0; at < 20; at++) {
    const damaged = block.slice();
    damaged[at]! ^= 0x10;
    assert.equal(readFileHeader(damaged), null, `byte ${at}`);
  }
});

Deno.test("an alignment that makes no sense is refused although its checksum is right", () => {
  for (const alignment of [0, 4, 12, 8192]) {
    const block = new Uint8Array(FILE_HEADER_BYTES);
    writeFileHeader(block, { alignment, salt: 1 });
    assert.equal(readFileHeader(block), null);
  }
});
