/** Values of every kind at every argument of every public function: taken, or refused in our words without an effect. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { MemoryDisk } from "../drivers/testing.ts";
import * as serve from "../devices/serve/mod.ts";
import { deferCallFor, openBackend } from "../drivers/driver.ts";
import * as nvme from "../drivers/nvme_tools.ts";
import * as probe from "../drivers/probe.ts";
import * as testing from "../drivers/testing.ts";
import * as root from "../mod.ts";
import { type BlockDevice, openDevice } from "../mod.ts";

/** What users call. `./driver` is for drivers, whose calls on the steady path check nothing. */
const plugio = { ...root, ...probe, ...nvme, ...serve, ...testing };

const DISK_BYTES = 4096;
const RUNS = 150;

/** What `fc.anything` does not think of. */
function oddities(): unknown[] {
  const detached = new Uint8Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const { proxy: revoked, revoke } = Proxy.revocable({}, {});
  revoke();
  const fail = () => {
    throw new Error("thrown by a value");
  };
  const throwing = { get: fail, has: fail, ownKeys: fail, getPrototypeOf: fail, getOwnPropertyDescriptor: fail };
  return [
    ...[undefined, null, "", "0", "8192", "r+", 0n, 8192n, -1n, NaN, -0, Infinity, 2 ** 53, -1, 0.5, true, false],
    ...[Symbol("x"), Symbol.iterator, () => 0, class {}, [], [8], [[]], [null], new Array(3), { valueOf: () => 512 }],
    ...[{ valueOf: fail, toString: fail, [Symbol.toPrimitive]: fail }, {
      get [Symbol.toStringTag]() {
        return fail();
      },
    }],
    ...[revoked, new Proxy({}, throwing), new Proxy([], throwing), new Proxy(new Uint8Array(8), {}), detached],
    ...[new Date(NaN), new Map([[1, 2]]), new Set([1]), /x/, new Error("x"), Promise.resolve(8), AbortSignal.abort()],
    ...[
      new ArrayBuffer(8),
      new SharedArrayBuffer(8),
      new DataView(new ArrayBuffer(8)),
      Object.create(Uint8Array.prototype),
    ],
    ...[new Uint16Array(8), new Uint8ClampedArray(8), new Uint8Array(0), new Uint8Array(512), globalThis, Math, JSON],
    ...[new URL("https://example.com/"), new URL("file:///%2f"), new URL("file:///%ff"), "\x1b[2J\n", "\0", "\ud800"],
  ]; // deno-fmt-ignore
}

/** Stands for one of them: fast-check looks into what it draws, and some of them throw then. */
class Odd {
  constructor(readonly index: number) {}
}

/** What is meant by what was drawn, at its top and one level below. */
function resolved(value: unknown, depth = 2): unknown {
  if (value instanceof Odd) return oddities()[value.index];
  if (depth === 0 || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => resolved(each, depth - 1));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, resolved(each, depth - 1)]));
}

const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.integer({ min: 0, max: oddities().length - 1 }).map((index) => new Odd(index)),
  fc.anything({
    withBigInt: true,
    withBoxedValues: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withObjectString: true,
    withSet: true,
    withSparseArray: true,
    withTypedArray: true,
  }),
);

/** Names of options with values of every kind, right names and wrong ones. */
function optionsOf(...names: string[]): fc.Arbitrary<unknown> {
  const name = fc.constantFrom(...names, ...names.map((each) => each.toLowerCase()), "__proto__", "constructor", "x");
  return fc.oneof(odd, fc.dictionary(name, odd, { maxKeys: 3 }));
}

/** A function of the library, and what its arguments are drawn from. */
interface Face {
  readonly name: string;
  readonly args: readonly fc.Arbitrary<unknown>[];
  call(disk: BlockDevice, ...args: readonly never[]): unknown;
}

const buffer = fc.oneof(odd, fc.constant(null).map(() => new Uint8Array(512)));
const list = fc.oneof(odd, fc.array(buffer, { maxLength: 3 }));
const offset = fc.oneof(odd, fc.constantFrom(0, 512, 4096));
const request = optionsOf("signal", "timeoutMs");
const write = optionsOf("signal", "timeoutMs", "fua");
/** A target that is no path of this machine's. */
const noText = (value: unknown) => typeof resolved(value) !== "string";
const target = odd.filter(noText);
/** What does not throw by itself when it is looked at: that reaches the caller as it is. */
const calm = odd.filter((value) => {
  try {
    return Reflect.get(Object(resolved(value)), "device") !== 0;
  } catch {
    return false;
  }
});
const noFunction = odd.filter((value) => typeof resolved(value) !== "function");
const open = optionsOf("driver", "direct", "readOnly", "truncate", "batch", "wait", "queueDepth", "drainMs", "memory");

const FACES: readonly Face[] = [
  { name: "read", args: [buffer, offset, request], call: (disk, ...args) => disk.read(...args as [never, never]) },
  { name: "write", args: [buffer, offset, write], call: (disk, ...args) => disk.write(...args as [never, never]) },
  { name: "readv", args: [list, offset, request], call: (disk, ...args) => disk.readv(...args as [never, never]) },
  { name: "writev", args: [list, offset, write], call: (disk, ...args) => disk.writev(...args as [never, never]) },
  { name: "flush", args: [request], call: (disk, options) => disk.flush(options) },
  { name: "nop", args: [request], call: (disk, options) => disk.nop(options) },
  {
    name: "discard",
    args: [offset, offset, request],
    call: (disk, ...args) => disk.discard(...args as [never, never]),
  },
  { name: "writeZeroes", args: [offset, offset, request], call: (disk, a, b, c) => disk.writeZeroes(a, b, c) },
  { name: "resize", args: [odd], call: (disk, size) => disk.resize(size) },
  { name: "allocate", args: [odd, odd], call: (disk, count, size) => disk.allocate(count, size) },
  { name: "release", args: [list], call: (disk, buffers) => disk.release(buffers) },
  { name: "submit", args: [calm], call: (disk, value) => disk.submit(value) },
  { name: "cancel", args: [calm], call: (disk, value) => disk.cancel(value) },
  { name: "run", args: [odd, odd], call: (disk, done, min) => disk.run(done, min) },
  {
    name: "createRequest",
    args: [optionsOf("op", "buffer", "offset", "length", "fua", "context", "onComplete")],
    call: (disk, init) => disk.createRequest(init),
  },
  {
    name: "submit of a request with odd fields",
    args: [fc.dictionary(fc.constantFrom("offset", "length", "op", "flags"), odd, { minKeys: 1 })],
    call: (disk, fields) => {
      const [own] = disk.allocate(1, 512);
      const made = disk.createRequest({ op: "read", buffer: own!, onComplete: () => {} });
      Object.assign(made, fields);
      disk.submit(made);
    },
  },
  {
    name: "readable",
    args: [optionsOf("start", "end", "chunkSize", "depth")],
    call: (disk, options) => disk.readable(options).cancel(),
  },
  {
    name: "writable",
    args: [optionsOf("start", "chunkSize", "depth", "flush")],
    call: (disk, options) => disk.writable(options).abort(),
  },
  {
    name: "BufferPool",
    args: [calm, optionsOf("count", "byteLength", "debug")],
    call: (_, device, options) => new plugio.BufferPool(device, options).dispose(),
  },
  {
    name: "BufferPool of the device",
    args: [optionsOf("count", "byteLength", "debug"), optionsOf("signal", "timeoutMs")],
    call: async (disk, options, wait) => {
      using pool = new plugio.BufferPool(disk, options);
      (await pool.take(wait)).release();
    },
  },
  { name: "openDevice of a target", args: [target, open], call: (_, path, options) => opened(path, options) },
  { name: "openDevice with options", args: [open], call: (_, options) => opened("memory:64KiB" as never, options) },
  {
    name: "openBackend of a target",
    args: [target, open],
    call: async (_, path, options) => await (await openBackend(path, options)).close(0),
  },
  {
    name: "MemoryDisk",
    args: [odd, optionsOf("blockSize", "growable", "seed", "faults")],
    call: (_, a, b) => new MemoryDisk(a, b),
  },
  {
    name: "faults",
    args: [fc.array(optionsOf("kind", "ops", "offset", "length", "errno", "delayMs", "times"), { maxLength: 2 })],
    call: (_, faults) => new MemoryDisk(512).faults = faults,
  },
  { name: "powerLoss", args: [optionsOf("keep")], call: (_, options) => new MemoryDisk(512).powerLoss(options) },
  { name: "inspectTarget", args: [target], call: (_, path) => plugio.inspectTarget(path) },
  { name: "pathOfTarget", args: [odd], call: (_, path) => plugio.pathOfTarget(path) },
  {
    name: "probe",
    args: [odd.filter((value) => resolved(value) !== undefined && !isEmpty(resolved(value)))],
    call: (_, options) => plugio.probe(options),
  },
  {
    name: "serveVhostUserBlk",
    args: [odd, odd, odd, odd],
    call: (_, a, b, c, d) => plugio.serveVhostUserBlk(a, b, c, d),
  },
  {
    name: "serveVhostUserBlk at",
    args: [target, odd],
    call: (disk, path, o) => plugio.serveVhostUserBlk(disk, path, o),
  },
  { name: "askControl", args: [odd, odd], call: (_, path, request) => plugio.askControl(path as never, request) },
  {
    name: "serveControl",
    args: [odd, odd],
    call: (_, path, handle) => plugio.serveControl(path as never, handle as never).close(),
  },
  {
    name: "serveScsiQueues",
    args: [odd, odd],
    call: (_, port, options) => plugio.serveScsiQueues(port as never, options as never),
  },
  { name: "inspectNbd", args: [odd], call: (_, address) => plugio.inspectNbd(address as never) },
  { name: "serveNbd", args: [odd, odd, odd], call: async (_, a, b, c) => (await plugio.serveNbd(a, b, c)).close() },
  {
    name: "serveNbd at",
    args: [odd, optionsOf("exportName", "lock", "format", "log")],
    call: async (disk, socket, o) => (await plugio.serveNbd(disk, socket, o)).close(),
  },
  {
    name: "serveVhostUserScsi",
    args: [odd, odd, odd],
    call: (_, a, b, c) => plugio.serveVhostUserScsi(a, b, c).close(),
  },
  {
    name: "serveVhostUserScsi of LUNs",
    args: [optionsOf("lun", "target", "serial", "wwn", "rotation", "readOnly", "logicalBlockSize"), odd, odd],
    call: (disk, lun, path, o) =>
      plugio.serveVhostUserScsi([typeof lun === "object" ? Object.assign(Object(lun), { device: disk }) : lun], path, o)
        .close(),
  },
  {
    name: "serveBlkQueues",
    args: [odd, odd],
    call: (disk, port, options) => plugio.serveBlkQueues(disk, port, options),
  },
  { name: "workerIsGone", args: [odd, odd], call: (_, port, reason) => plugio.workerIsGone(port, reason) },
  { name: "nvmeBind", args: [odd], call: (_, address) => plugio.nvmeBind(address) },
  { name: "nvmeUnbind", args: [odd], call: (_, address) => plugio.nvmeUnbind(address) },
  { name: "nvmeSmart", args: [odd], call: (_, address) => plugio.nvmeSmart(address) },
  { name: "nvmeIdentify", args: [odd], call: (_, address) => plugio.nvmeIdentify(address) },
  { name: "nvmeDoctor", args: [odd], call: (_, address) => plugio.nvmeDoctor(address) },
  {
    name: "plugCall",
    args: [noFunction, odd],
    call: (_, f, a) => plugio.plugCall(f, a),
  },
  {
    name: "plugged",
    args: [noFunction],
    call: (_, body) => plugio.plugged(body),
  },
  { name: "deferCallFor", args: [odd], call: (_, mode) => deferCallFor(mode) },
  {
    name: "setPlugDebug",
    args: [optionsOf("report")],
    call: (_, options) => {
      plugio.setPlugDebug(options);
      plugio.setPlugDebug(null);
    },
  },
  { name: "errnoName", args: [odd], call: (_, errno) => plugio.errnoName(errno) },
  { name: "describeErrno", args: [odd], call: (_, errno) => plugio.describeErrno(errno) },
  { name: "describeUse", args: [calm], call: (_, use) => plugio.describeUse(use) },
  {
    name: "BlockDevice",
    args: [odd.filter((value) => typeof resolved(value) !== "object")],
    call: (_, backend) => new plugio.BlockDevice(backend),
  },
  { name: "NvmeStatusError", args: [odd], call: (_, status) => new plugio.NvmeStatusError(status) },
  {
    name: "close",
    args: [optionsOf("drainMs")],
    call: async (_, options) => {
      const other = await openDevice("memory:512");
      try {
        await other.close(options);
      } finally {
        await other.close();
      }
    },
  },
];

function isEmpty(value: unknown): boolean {
  try {
    return typeof value === "object" && value !== null && Object.keys(value).length === 0;
  } catch {
    return false;
  }
}

async function opened(path: never, options: never): Promise<void> {
  const device = await openDevice(path, options);
  await device.close();
}

const OURS = ["TypeError", "RangeError", "StorageError", "InvariantError"];

/** Fails unless `error` is one of ours, on one line. */
function assertOurs(error: unknown): void {
  assert.ok(error instanceof Error && OURS.includes(error.name), `another kind of error: ${error}`);
  assert.match(error.message, /^Cannot /, "the words of the engine");
  assert.doesNotMatch(error.message, /[\p{Cc}]/u, "control characters");
}

for (const { name, args, call } of FACES) {
  Deno.test(`property: ${name} takes its arguments or refuses them in our words, without an effect`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.tuple(...args), async (values) => {
        const disk = new MemoryDisk(DISK_BYTES);
        const device = await openDevice("memory:odd", { memory: disk });
        const before = new Uint8Array(DISK_BYTES).fill(7);
        await device.write(before, 0);
        try {
          await call(device, ...values.map((value) => resolved(value)) as never[]);
        } catch (error) {
          assertOurs(error);
          const now = new Uint8Array(DISK_BYTES);
          await device.read(now, 0);
          assert.deepEqual(now, before, "an effect of what was refused");
        }
        await device.close();
      }),
      { numRuns: RUNS, seed: 20261201, endOnFailure: true },
    );
  });
}

Deno.test("every function and class of the library that takes arguments is among those that values are thrown at", () => {
  const named = FACES.map(({ name }) => name.split(" ")[0]!);
  // These are thrown by the library; the second has a test below.
  const others = ["InvariantError", "StorageError", "ControlRefusal"];
  for (const [name, value] of Object.entries(plugio)) {
    if (typeof value !== "function" || value.length === 0 || others.includes(name)) continue;
    assert.ok(named.includes(name), `${name} is missing`);
  }
});

Deno.test("a StorageError is made of an object of fields", () => {
  for (const fields of [undefined, null, 5, "open"]) {
    assert.throws(() => new plugio.StorageError(fields as never), /^TypeError: Cannot make a StorageError of /);
  }
});
