/** The same operations through every driver and through node:fs: what was read and what is left must be the same. */
import assert from "node:assert/strict";
import { createHash, type Hash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { Random } from "../../core/base/random.ts";
import "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { type Disk, Subject } from "./configuration.ts";
import { allConfigurations } from "./configurations/all.ts";

const BYTES = 1 << 20;
const ROUNDS = 40;
const ROUND_OPERATIONS = 16;

/** Every target here takes ranges of whole blocks of this length. */
const BLOCK_BYTES = 4096;

/** One write or read. */
interface Operation {
  readonly isWrite: boolean;
  readonly offset: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Rounds of operations that do not meet each other inside of a round, so that their order does not matter. */
function rounds(seed: number): Operation[][] {
  const random = new Random(seed);
  const laneBytes = BYTES / ROUND_OPERATIONS;
  return Array.from({ length: ROUNDS }, () =>
    Array.from({ length: ROUND_OPERATIONS }, (_, lane): Operation => {
      const blocks = laneBytes / BLOCK_BYTES;
      const first = random.below(blocks);
      const length = (1 + random.below(blocks - first)) * BLOCK_BYTES;
      const data = new Uint8Array(length);
      const isWrite = random.below(2) === 0;
      if (isWrite) { for (let at = 0; at < length; at += 4) new DataView(data.buffer).setUint32(at, random.uint32()); }
      return { isWrite, offset: lane * laneBytes + first * BLOCK_BYTES, data };
    }));
}

/** What came out: of all reads in order, and of the whole content at the end. */
interface Checksums {
  readonly reads: string;
  readonly content: string;
}

function sums(reads: Hash, content: Uint8Array): Checksums {
  return { reads: reads.digest("hex"), content: createHash("sha256").update(content).digest("hex") };
}

function throughNode(seed: number): Checksums {
  using dir = new TempDir();
  const file = openSync(dir.file("data.bin", BYTES), "r+");
  try {
    const reads = createHash("sha256");
    for (const { isWrite, offset, data } of rounds(seed).flat()) {
      if (isWrite) writeSync(file, data, 0, data.length, offset);
      else {
        readSync(file, data, 0, data.length, offset);
        reads.update(data);
      }
    }
    assert.equal(fstatSync(file).size, BYTES);
    const content = new Uint8Array(BYTES);
    readSync(file, content, 0, BYTES, 0);
    return sums(reads, content);
  } finally {
    closeSync(file);
  }
}

async function throughDevice({ device }: Disk, seed: number): Promise<Checksums> {
  const reads = createHash("sha256");
  for (const operations of rounds(seed)) {
    await Promise.all(
      operations.map(({ isWrite, offset, data }) => isWrite ? device.write(data, offset) : device.read(data, offset)),
    );
    for (const { isWrite, data } of operations) if (!isWrite) reads.update(data);
  }
  const content = new Uint8Array(BYTES);
  assert.equal(await device.read(content, 0), BYTES);
  return sums(reads, content);
}

const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
const wanted = throughNode(seed);

Deno.test("the operations of another seed have other checksums", () => {
  assert.notDeepEqual(throughNode(seed + 1), wanted);
});

for (const configuration of allConfigurations()) {
  const { name, ready, optionalInCi = false } = configuration;
  testWhen(
    ready,
    `${name}: the same operations as through node:fs give the same checksums (seed ${seed})`,
    async () => {
      await using disk = await new Subject(configuration).patterned();
      assert.deepEqual(await throughDevice(disk, seed), wanted);
    },
    { optionalInCi },
  );
}
