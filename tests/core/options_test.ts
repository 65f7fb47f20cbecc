/** Options of public functions: what is unknown, of a wrong type or without sense is refused, and each is read once. */
import assert from "node:assert/strict";
import { FLAG, FUNCTION, integer, oneOf, OptionTable } from "../../core/base/options.ts";
import { MemoryDisk } from "../../drivers/testing.ts";
import { BlockDevice, type DeviceOptions, openDevice } from "../../mod.ts";
import { ManualBackend } from "../support/manual_backend.ts";
import { TempDir } from "../support/temp_file.ts";

interface Example {
  readonly readOnly?: boolean;
  readonly queueDepth?: number;
  readonly wait?: string;
  readonly log?: () => void;
}

const TABLE = new OptionTable<Example>("use", {
  readOnly: FLAG,
  queueDepth: integer(1, 32, "an integer from 1 to 32"),
  wait: oneOf(["event", "block"]),
  log: FUNCTION,
});

Deno.test("an unknown option is a TypeError with the name that was probably meant", () => {
  const near = { readonly: "readOnly", read_only: "readOnly", "queue-depth": "queueDepth", qeueDepth: "queueDepth" };
  for (const [wrong, right] of Object.entries(near)) {
    const message = `Cannot use option ${wrong}: it is unknown, did you mean ${right}?`;
    assert.throws(() => TABLE.read({ [wrong]: true }), { name: "TypeError", message });
  }
  for (const far of ["iodepth", "x", "toString ", "x".repeat(5000)]) {
    assert.throws(() => TABLE.read({ [far]: 1 }), /it is unknown, wanted readOnly, queueDepth, wait, log$/);
  }
  assert.throws(() => TABLE.read({ "a\x1b[2J": 1 }), /^TypeError: Cannot use option a\\x1b\[2J: it is unknown/);
});

Deno.test("an unknown option is found wherever it is: unset, inherited, behind a getter of a class", () => {
  class Config {
    get readonly() {
      return true;
    }
  }
  class Derived extends Config {}
  const wrong = [{ readonly: undefined }, Object.create({ readonly: true }), new Config(), new Derived()];
  for (const options of [...wrong, Object.freeze({ readonly: 1 }), { __proto__: null, readonly: 1 }]) {
    assert.throws(() => TABLE.read(options), /option readonly: it is unknown, did you mean readOnly\?$/);
  }
});

Deno.test("what is no object of options is a TypeError", () => {
  const others = [null, "r+", 5, 5n, true, [], [{}], () => {}, Symbol("x"), new Map(), new Date(), AbortSignal.abort()];
  for (const other of [...others, new MemoryDisk(512), new Uint8Array(8), Promise.resolve({}), new Error("x")]) {
    assert.throws(() => TABLE.read(other), { name: "TypeError", message: /^Cannot use option/ });
  }
  assert.deepEqual(TABLE.read(undefined), {});
});

Deno.test("options may be of any plain kind, and undefined means left out", () => {
  class Config {
    readOnly = true;
    get queueDepth() {
      return 8;
    }
    describe() {}
  }
  const expected = { readOnly: true, queueDepth: 8 };
  const plain = { readOnly: true, queueDepth: 8, wait: undefined };
  const kinds = [plain, Object.freeze({ ...plain }), { __proto__: null, ...plain }, Object.create(plain), new Config()];
  for (const options of kinds) assert.deepEqual(TABLE.read(options), expected);
  assert.deepEqual(TABLE.read(new Proxy(plain, {})), expected);
  assert.deepEqual(TABLE.read({ ...plain, [Symbol("note")]: 1 }), expected);
});

Deno.test("a value of a wrong type is a TypeError, one without sense a RangeError", () => {
  const types: Record<string, unknown[]> = {
    readOnly: ["false", 0, 1, null, {}, new Boolean(true)],
    queueDepth: ["32", 32n, null, true, [32], { valueOf: () => 32 }, Symbol("32")],
    wait: [null, 5, ["event"]],
    log: [null, "console.log", {}],
  };
  for (const [name, values] of Object.entries(types)) {
    for (const value of values) {
      const message = new RegExp(`^Cannot use ${name} .*: wanted `);
      assert.throws(() => TABLE.read({ [name]: value }), { name: "TypeError", message });
    }
  }
  const ranges = { queueDepth: [0, -1, 33, 1.5, NaN, Infinity, -0, 2 ** 53], wait: ["", "Event", "toString"] };
  for (const [name, values] of Object.entries(ranges)) {
    for (const value of values) assert.throws(() => TABLE.read({ [name]: value }), RangeError);
  }
  assert.throws(() => TABLE.read({ queueDepth: -0 }), /Cannot use queueDepth -0: wanted an integer from 1 to 32$/);
});

Deno.test("each option is read once: a getter cannot say one thing to the check and another to the driver", () => {
  let reads = 0;
  const options = {
    get queueDepth() {
      return ++reads === 1 ? 8 : "wrong";
    },
  };
  assert.deepEqual([TABLE.read(options), reads], [{ queueDepth: 8 }, 1]);
});

Deno.test("options that throw when they are read are a TypeError that keeps the reason", () => {
  const reason = new Error("out of order");
  const fail = () => {
    throw reason;
  };
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assert.throws(() => TABLE.read(proxy), TypeError);
  for (
    const options of [{
      get wait() {
        return fail();
      },
    }, new Proxy({}, { ownKeys: fail })]
  ) { // deno-fmt-ignore
    assert.throws(() => TABLE.read(options), (error: Error) => error instanceof TypeError && error.cause === reason);
  }
});

Deno.test("a mistyped option of openDevice opens nothing: neither is a file emptied nor one made", async () => {
  using dir = new TempDir();
  const path = dir.file("kept", 4096);
  const wrong: [object, RegExp][] = [
    [{ truncate: true, readonly: true }, /option readonly: it is unknown, did you mean readOnly\?/],
    [{ truncate: true, Direct: true }, /did you mean direct\?/],
    [{ truncate: true, direct: "false" }, /Cannot use direct "false": wanted true or false/],
    [{ truncate: true, drainMs: "5" }, /Cannot use drainMs "5"/],
    [{ truncate: true, queueDepth: "32" }, /Cannot use queueDepth "32"/],
    [
      { truncate: true, memory: new MemoryDisk(512) },
      /memory with driver io_uring: it is an option of the driver memory/,
    ],
    [{ truncate: true, blkio: { "num-queues": 2 } }, /blkio with driver io_uring/],
    [{ truncate: true, maxBatch: 8 }, /maxBatch with driver io_uring/],
  ];
  for (const [options, message] of wrong) await assert.rejects(openDevice(path, options as DeviceOptions), message);
  for (const options of [null, "r+", 5, [], () => {}]) {
    await assert.rejects(
      openDevice(path, options as unknown as DeviceOptions),
      /^TypeError: Cannot use options .*: wanted/,
    );
  }
  const missing = `${dir.path}/missing`;
  await assert.rejects(openDevice(missing, { create: true, readonly: false } as DeviceOptions), TypeError);
  assert.equal(Deno.statSync(path).size, 4096);
  await assert.rejects(Deno.stat(missing), Deno.errors.NotFound);
});

Deno.test("close and createRequest know their options too, and refuse others without doing anything", async () => {
  const backend = new ManualBackend();
  const device = new BlockDevice(backend);
  for (
    const options of [null, 5, { drainMS: 5 }, { drainMs: "5" }, { drainMs: NaN }, { drainMs: -1 }, { drainMs: 5n }]
  ) {
    await assert.rejects(device.close(options as { drainMs: number }), /^(TypeError|RangeError): Cannot use /);
  }
  assert.equal(backend.closed, false);
  const onComplete = () => {};
  const mistakes = [{ opcode: 1 }, { offset: "0" }, { offset: -1 }, { length: 1.5 }, { length: 8n }, { fua: 1 }];
  for (const mistake of mistakes) {
    const init = { op: "flush" as const, onComplete, ...mistake as object };
    assert.throws(() => device.createRequest(init), /^(TypeError|RangeError): Cannot create a request with /);
  }
  for (const init of [null, 5, "read"]) {
    assert.throws(
      () => device.createRequest(init as never),
      /Cannot create a request with options .*: wanted an object/,
    );
  }
  await device.close();
});

Deno.test("a fault and a memory disk refuse what they do not know, and a fault keeps its own copy", () => {
  const disk = new MemoryDisk(4096);
  const wrong = [
    { kind: "error", op: ["write"] },
    { kind: "error", ops: "write" },
    { kind: 5 },
    {},
    null,
    undefined,
    5,
  ];
  for (const fault of wrong) {
    assert.throws(() => disk.faults = [fault as never], /^(TypeError|RangeError): Cannot use a fault with(out)? /);
  }
  for (const faults of [null, undefined, "EIO", 5, {}]) assert.throws(() => disk.faults = faults as never, TypeError);
  for (const size of [null, undefined, 5n, {}, [4096]]) {
    assert.throws(() => new MemoryDisk(size as never), /TypeError: Cannot make a memory disk of size /);
  }
  assert.throws(() => new MemoryDisk(512, { blocksize: 512 } as object), /did you mean blockSize\?/);
  assert.throws(() => disk.powerLoss({ keeps: "all" } as object), /did you mean keep\?/);
  assert.throws(() => disk.powerLoss(null as never), TypeError);
});
