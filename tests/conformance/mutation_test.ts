/** The suite over drivers that are broken on purpose: what it cannot catch, it does not test. */
import assert from "node:assert/strict";
import { BlockDevice } from "../../core/device/block_device.ts";
import type { Backend } from "../../core/device/backend.ts";
import { Errno } from "../../core/base/errno.ts";
import { Opcode } from "../../core/request/request.ts";
import { openMemory } from "../../drivers/memory/mod.ts";
import { MemoryDisk, type MemoryFault } from "../../drivers/testing.ts";
import type { DeviceOptions, IoRequest } from "../../mod.ts";
import { runModel } from "../model/run.ts";
import { uncaughtDuring } from "../support/uncaught.ts";
import { ALL_CHECKS } from "./checks/all.ts";
import { BAD_OFFSET, ERRORS } from "./checks/errors.ts";
import type { Configuration } from "./configuration.ts";
import { MEMORY_CONFIGURATIONS } from "./configurations/memory.ts";
import { runCheck } from "./register.ts";

/** Long enough for a check that works, short enough for one that hangs. */
const DEADLINE_MS = 2_000;

const HEALTHY = MEMORY_CONFIGURATIONS[0]!;

/** The checks whose name matches and that fail over `mutant`, by name. */
async function failures(mutant: Configuration, names: RegExp): Promise<string[]> {
  const failed: string[] = [];
  const checks = ALL_CHECKS.filter(({ name }) => names.test(name));
  assert.ok(checks.length > 0, `no check is named ${names}`);
  for (const check of checks) {
    let error: unknown = null;
    const uncaught = await uncaughtDuring(() => runCheck(check, mutant, DEADLINE_MS).catch((reason) => error = reason));
    if (error !== null || uncaught.length > 0) failed.push(check.name);
  }
  return failed;
}

/** The memory driver with a fault that the library does not repair, from the second request on. */
function faulty(name: string, fault: MemoryFault): Configuration {
  return {
    ...HEALTHY,
    name,
    options: { drainMs: 10 },
    make: async (request) => {
      const made = await HEALTHY.make(request);
      (made.options!.memory as MemoryDisk).faults = [fault];
      return made;
    },
  };
}

/** The memory driver behind something that changes what it does. */
function wrapped(name: string, change: (backend: Backend) => void): Configuration {
  return {
    ...HEALTHY,
    name,
    open: async (target: string, options: DeviceOptions) => {
      const { batch, ...rest } = options;
      assert.notEqual(batch, "device", "no driver knows the mode device");
      const mode = batch === undefined || batch === "device" ? {} : { batch };
      const backend = await openMemory(target.replace(/^memory:/, ""), { ...rest, ...mode });
      change(backend);
      return new BlockDevice(backend, { drainMs: 10 });
    },
  };
}

/** Calls `before` with each request that is enqueued. */
function onEnqueue(backend: Backend, before: (request: IoRequest) => void): void {
  const enqueue = backend.enqueue.bind(backend);
  backend.enqueue = (request) => {
    before(request);
    enqueue(request);
  };
}

/** Each mutant, with the checks that must notice it. */
const MUTANTS: readonly (readonly [mutant: Configuration, names: RegExp])[] = [
  [faulty("flips a bit of a read", { kind: "corrupt", ops: ["read"], after: 3, times: 1 }), /64 reads at once/],
  [faulty("flips a bit of a write", { kind: "corrupt", ops: ["write"], after: 3, times: 1 }), /64 reads at once/],
  [faulty("fails a flush", { kind: "error", ops: ["flush"] }), /64 reads at once/],
  [
    faulty("loses a completion", { kind: "lost", ops: ["read"], after: 40, times: 1 }),
    /64 reads at once|close waits/,
  ],
  [
    wrapped("completes twice", (backend) =>
      onEnqueue(backend, (request) => {
        const { onComplete } = request;
        request.onComplete = (done, result) => {
          request.onComplete = onComplete;
          onComplete(done, result);
          onComplete(done, result);
        };
      })),
    /calls? back once/,
  ],
  [
    { ...HEALTHY, name: "ignores the plug", open: (target, options) => openIgnoringThePlug(target, options) },
    /a section of 32 reads is one submit of 32 in mode plug/,
  ],
  [
    wrapped("forgets the low half of far offsets", (backend) =>
      onEnqueue(backend, (request) => {
        if (request.offset >= 2 ** 32) request.offset -= request.offset % 2 ** 32;
      })),
    /offsets beyond 2\^32/,
  ],
  [
    wrapped("takes writes although read-only", (backend) => Object.assign(backend.info, { readOnly: false })),
    /read-only/,
  ],
  [
    {
      ...wrapped("does not wait on close", (backend) => {
        backend.close = () => Promise.resolve();
      }),
      make: faulty("slow", { kind: "delay", delayMs: 20 }).make,
    },
    /close waits for I\/O in flight/,
  ],
  [
    wrapped("drops zeroing", (backend) =>
      onEnqueue(backend, (request) => {
        if (request.op === Opcode.writeZeroes) request.op = Opcode.nop;
      })),
    /write zeroes and discard change their range/,
  ],
];

/** Submits each request alone, whatever was asked for. */
async function openIgnoringThePlug(target: string, options: DeviceOptions): Promise<BlockDevice> {
  return new BlockDevice(await openMemory(target.replace(/^memory:/, ""), { ...options, batch: "none" }));
}

for (const [mutant, names] of MUTANTS) {
  Deno.test(`the suite notices a driver that ${mutant.name}: ${names.source}`, async () => {
    const wanted = ALL_CHECKS.map(({ name }) => name).filter((name) => names.test(name));
    assert.deepEqual(await failures(mutant, names), wanted);
    assert.deepEqual(await failures(HEALTHY, names), []);
  });
}

Deno.test("the suite notices a driver that makes another error of EIO, and one that makes a success of it", async () => {
  const bad = { kind: "error", offset: BAD_OFFSET, length: 512 } as const;
  for (const check of ERRORS) {
    await runCheck(check, faulty("passes EIO on", bad), DEADLINE_MS);
    await assert.rejects(runCheck(check, faulty("says ENOSPC", { ...bad, errno: Errno.ENOSPC }), DEADLINE_MS));
    await assert.rejects(runCheck(check, HEALTHY, DEADLINE_MS));
  }
});

Deno.test("the model notices a wrong bit, and makes the program small", async () => {
  const mutant = faulty("flips a bit of some writes", { kind: "corrupt", ops: ["write"], offset: 8192, length: 1024 });
  const { finding } = await runModel(mutant, { seed: 1, durationMs: 20_000 });
  assert.ok(finding !== null, "nothing was found");
  assert.match(finding.failure.message, /byte \d+ is \d+, wanted \d+/);
  const operations = finding.program.flatMap((step) => step.kind === "batch" ? step.operations : []);
  assert.ok(operations.length <= 2, `${operations.length} operations are left`);
});

Deno.test("the model notices a lost completion", async () => {
  const mutant = faulty("loses a read", { kind: "lost", ops: ["read"], after: 5, times: 1 });
  const { finding } = await runModel(mutant, { seed: 1, durationMs: 1, deadlineMs: 200, shrinkAttempts: 5 });
  assert.match(finding?.failure.message ?? "nothing was found", /did not end/);
});
