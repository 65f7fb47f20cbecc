/** Clients that break the rules: each is left alone, and the server and its other clients go on. */
import assert from "node:assert/strict";
import { type ServedNbd, serveNbd } from "../../../devices/serve/mod.ts";
import { type BlockDevice, openDevice } from "../../../mod.ts";
import { Random } from "../../../core/base/random.ts";
import { ascii, bytesOf, u16, u32, u64 } from "../../support/nbd_bytes.ts";
import "../../support/libraries.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;

/** Milliseconds that an answer may take. Generous: only a bug waits for it. */
const DEADLINE_MS = 10_000;

/** A server in this Worker, and the disk behind it. */
class Rig implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly log: string[] = [];
  #device!: BlockDevice;
  server!: ServedNbd;

  static async start(): Promise<Rig> {
    const rig = new Rig();
    rig.#device = await openDevice(rig.#dir.file("disk.img", MIB), { batch: "plug" });
    rig.server = await serveNbd(rig.#device, { host: "127.0.0.1", port: 0 }, { log: (line) => rig.log.push(line) });
    return rig;
  }

  /** A client that does as it likes. */
  async connect(): Promise<Wild> {
    return new Wild(await Deno.connect({ hostname: "127.0.0.1", port: this.server.port! }));
  }

  /** A client that behaves reads what is there. */
  async assertServes(): Promise<void> {
    await using disk = await openDevice(`nbd://127.0.0.1:${this.server.port}`, { readOnly: true });
    const buffer = new Uint8Array(4096);
    assert.equal(await disk.read(buffer, 8192), 4096);
    assert.deepEqual(buffer, pattern(8192, 4096));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await this.#device.close();
    this.#dir[Symbol.dispose]();
  }
}

/** Bytes to and from a server. */
class Wild implements Disposable {
  readonly #conn: Deno.Conn;
  #input: number[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Sends, as far as the server takes it. */
  async send(...pieces: Uint8Array[]): Promise<void> {
    const bytes = bytesOf(pieces);
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    } catch {
      // The server has left.
    }
  }

  /** The next bytes; fewer where the server has left. */
  async take(byteLength: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(65_536);
    while (this.#input.length < byteLength) {
      const count = await this.#read(buffer);
      if (count === null) break;
      for (const byte of buffer.subarray(0, count)) this.#input.push(byte);
    }
    return Uint8Array.from(this.#input.splice(0, byteLength));
  }

  /** Waits until the server has left; what it says meanwhile is thrown away. */
  async end(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    while (await this.#read(buffer) !== null);
  }

  /** Goes through the handshake, with structured replies where asked. */
  async handshake(structured = false): Promise<void> {
    await this.take(18);
    await this.send(u32(3));
    if (structured) {
      await this.send(option(8, new Uint8Array(0)));
      await this.take(20);
    }
    await this.send(option(7, bytesOf([u32(0), u16(0)])));
    await this.take(20 + 12 + 20);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    try {
      this.#conn.close();
    } catch {
      // Closed by its deadline.
    }
  }

  async #read(buffer: Uint8Array): Promise<number | null> {
    this.#timer = setTimeout(() => this.#conn.close(), DEADLINE_MS);
    try {
      return await this.#conn.read(buffer);
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) return null;
      throw error;
    } finally {
      clearTimeout(this.#timer);
    }
  }
}

function option(number: number, data: Uint8Array): Uint8Array {
  return bytesOf([ascii("IHAVEOPT"), u32(number), u32(data.length), data]);
}

/** A request header; `more` is what differs from a good read. */
function request(
  command: number,
  { flags = 0, cookie = 7n, offset = 0n, length = 512, magic = 0x25609513 }: Partial<RequestParts> = {},
): Uint8Array {
  return bytesOf([u32(magic), u16(flags), u16(command), u64(cookie), u64(offset), u32(length)]);
}

interface RequestParts {
  readonly flags: number;
  readonly cookie: bigint;
  readonly offset: bigint;
  readonly length: number;
  readonly magic: number;
}

/** Error of a simple reply. */
function errorOf(reply: Uint8Array): number {
  const view = new DataView(reply.buffer);
  assert.deepEqual([reply.length, view.getUint32(0), view.getBigUint64(8)], [16, 0x67446698, 7n]);
  return view.getUint32(4);
}

Deno.test("what cannot be done is answered with its error, and the connection goes on", async () => {
  await using rig = await Rig.start();
  using client = await rig.connect();
  await client.handshake();
  const cases: readonly (readonly [string, number, Uint8Array])[] = [
    ["a read beyond the end", 22, request(0, { offset: BigInt(MIB) - 256n })],
    ["a read from 2^63", 22, request(0, { offset: 1n << 63n })],
    ["a read of 4 GiB", 22, request(0, { length: 0xffff_ffff })],
    ["a write beyond the end", 28, bytesOf([request(1, { offset: BigInt(MIB) }), new Uint8Array(512)])],
    ["zeroes beyond the end", 28, request(6, { offset: BigInt(MIB) })],
    ["a trim beyond the end", 22, request(4, { offset: BigInt(MIB) })],
    ["an unknown command", 22, request(99)],
    ["an unknown flag", 22, request(0, { flags: 0x8000 })],
    ["a write with an unknown flag", 22, bytesOf([request(1, { flags: 0x100 }), new Uint8Array(512)])],
    ["block status without a context", 22, request(7)],
    ["resize", 22, request(8)],
    ["a read of nothing", 0, request(0, { length: 0 })],
    ["a write of nothing", 0, request(1, { length: 0 })],
    ["a flush", 0, request(3, { length: 0 })],
  ];
  for (const [name, error, bytes] of cases) {
    await client.send(bytes);
    assert.equal(errorOf(await client.take(16)), error, name);
  }
  await client.send(request(0));
  assert.equal(errorOf(await client.take(16)), 0);
  assert.deepEqual(await client.take(512), pattern(0, 512));
});

Deno.test("requests cut at every byte are understood", async () => {
  await using rig = await Rig.start();
  using client = await rig.connect();
  await client.handshake();
  const inBytes = async (bytes: Uint8Array) => {
    for (const byte of bytes) await client.send(Uint8Array.of(byte));
    return errorOf(await client.take(16));
  };
  assert.equal(await inBytes(bytesOf([request(1, { length: 5 }), ascii("hello")])), 0);
  assert.equal(await inBytes(request(0, { length: 8 })), 0);
  assert.deepEqual(await client.take(8), bytesOf([ascii("hello"), pattern(5, 3)]));
  assert.equal(await inBytes(request(3, { length: 0 })), 0);
});

Deno.test("a client that does not speak NBD is left, and the next one is served", async () => {
  await using rig = await Rig.start();
  const cases: readonly (readonly [string, (client: Wild) => Promise<void>, RegExp])[] = [
    ["HTTP", (client) => client.send(ascii("GET / HTTP/1.1\r\n\r\n")), /broke the protocol: it answers the greeting/],
    ["no fixed newstyle", (client) => client.send(u32(0)), /broke the protocol: it answers the greeting/],
    ["an option without its magic", (client) => client.send(u32(3), new Uint8Array(16)), /does not begin as one/],
    [
      "an option of 4 GiB",
      (client) => client.send(u32(3), ascii("IHAVEOPT"), u32(7), u32(0xffff_ffff)),
      /4294967295 bytes/,
    ],
    ["abort", (client) => client.send(u32(3), option(2, new Uint8Array(0))), /ended the negotiation/],
    ["an export that is not there", (client) => client.send(u32(3), option(1, ascii("x"))), /ended the negotiation/],
    ["options without an end", async (client) => {
      await client.send(u32(3), ...new Array<Uint8Array>(300).fill(option(3, new Uint8Array(0))));
    }, /more than 256 options/],
    ["a request without its magic", async (client) => {
      await client.handshake();
      await client.send(request(0, { magic: 1 }));
    }, /a request begins with 0x1/],
    ["a write of more than is allowed", async (client) => {
      await client.handshake();
      await client.send(request(1, { length: 33_554_433 }));
    }, /payload of 33554433 bytes/],
    ["goodbye", async (client) => {
      await client.handshake();
      await client.send(request(2));
    }, /said goodbye/],
  ];
  for (const [name, act, message] of cases) {
    using client = await rig.connect();
    await act(client);
    await client.end();
    assert.match(rig.log.at(-1)!, message, name);
    await rig.assertServes();
  }
});

Deno.test("a client that dies in the middle of a payload, or with reads in flight, costs the other clients nothing", async () => {
  await using rig = await Rig.start();
  for (let round = 0; round < 20; round++) {
    using client = await rig.connect();
    await client.handshake(round % 2 === 1);
    await client.send(
      ...Array.from({ length: 64 }, (_, index) => request(0, { length: 65_536, cookie: BigInt(index) })),
    );
    await client.send(request(1, { length: 65_536 }), new Uint8Array(round * 1000));
  }
  await rig.assertServes();
});

Deno.test("a client that takes no replies for a while holds up itself alone, and gets all of them then", async () => {
  await using rig = await Rig.start();
  using client = await rig.connect();
  await client.handshake();
  // Their replies do not fit any socket.
  const reads = Array.from({ length: 200 }, () => request(0, { length: MIB }));
  await client.send(...reads);
  await rig.assertServes();
  for (let read = 0; read < reads.length; read++) {
    assert.equal(errorOf(await client.take(16)), 0);
    assert.equal((await client.take(MIB)).length, MIB);
  }
});

Deno.test("the end of the server does not wait for ever for a client that takes no replies", async () => {
  const rig = await Rig.start();
  using client = await rig.connect();
  await client.handshake();
  await client.send(...Array.from({ length: 200 }, () => request(0, { length: MIB })));
  await rig.assertServes();
  await rig[Symbol.asyncDispose]();
  assert.match(rig.log.at(-1)!, /a client is gone: the server ends/);
});

Deno.test("bytes at random end in an error or in nothing, and the server goes on", async () => {
  const seed = Number(Deno.env.get("PLUGIO_FUZZ_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  const rounds = Number(Deno.env.get("PLUGIO_FUZZ_ROUNDS") ?? 40);
  const random = new Random(seed);
  await using rig = await Rig.start();
  for (let round = 0; round < rounds; round++) {
    using client = await rig.connect();
    if (random.below(3) > 0) await client.handshake(random.below(2) === 1);
    for (let piece = random.below(20); piece >= 0; piece--) await client.send(nonsense(random));
  }
  try {
    await rig.assertServes();
  } catch (error) {
    throw new Error(`with PLUGIO_FUZZ_SEED=${seed}`, { cause: error });
  }
});

/** Bytes that are nearly right, but for writes: what is read in the end has to be the pattern. */
function nonsense(random: Random): Uint8Array {
  const bytes = (count: number) => Uint8Array.from({ length: count }, () => random.below(256));
  switch (random.below(5)) {
    case 0:
      return bytes(random.below(100));
    case 1:
      return option(random.below(14), bytes(random.below(40)));
    case 2:
      return request([0, 2, 3, 5, 7, 9][random.below(6)]!, {
        flags: random.below(70),
        offset: BigInt(random.below(2 * MIB)),
        length: random.below(70_000),
      });
    case 3:
      return request(0, { length: random.below(4096), offset: BigInt(random.below(MIB)) }).subarray(
        0,
        random.below(29),
      );
    default:
      return option(7, bytesOf([u32(random.below(20)), bytes(random.below(20)), u16(random.below(5))]));
  }
}
