/**
 * Random loads on a random kernel: whatever happens, each request completes once and with the right bytes. The same
 * programs for every driver with a fake at its seam to the kernel.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Errno } from "../../core/base/errno.ts";
import { plug, unplug } from "../../core/plug/plug.ts";
import { type IoRequest, Opcode } from "../../core/request/request.ts";
import type { QueueOwner } from "../../core/queue/queue_owner.ts";
import type { RequestRig } from "./request_rig.ts";
import { patternAt } from "./temp_file.ts";
import { macrotask } from "./turns.ts";

/** One entry that the fake kernel has. */
export interface PendingEntry {
  readonly slot: number;
  readonly isRead: boolean;
  readonly offset: number;
  readonly byteLength: number;
  readonly address: number;
  /** Posts the completion: bytes or −errno. */
  complete(result: number): void;
}

/** A queue on a fake kernel, as the programs drive it. */
type PropertyRig = RequestRig<QueueOwner>;

/** How a driver's fake kernel is reached. */
export interface PropertySeam<R extends PropertyRig> {
  /** A rig with room for `maxInflight` requests; `sqEntries` where the driver has a queue of entries. */
  open(sqEntries: number, maxInflight: number): R;
  /** What the kernel has, oldest first. */
  pending(rig: R): PendingEntry[];
  /** Sets the answers to the next submits. */
  script(rig: R, answers: number[]): void;
  /** Posts a completion with any tag. */
  post(rig: R, slot: number, generation: number, result: number): void;
}

const FILE_BYTES = 10_000;

type Answer = { readonly answer: "full" | "end" | "EAGAIN" | "EINTR" | "EIO" } | {
  readonly answer: "short";
  readonly part: number;
};

type Step =
  | { readonly step: "send"; readonly op: "read" | "write"; readonly offset: number; readonly length: number }
  | { readonly step: "plug" | "unplug" | "reap" | "late" }
  | { readonly step: "script"; readonly answers: readonly number[] }
  | { readonly step: "complete"; readonly pick: number; readonly answer: Answer }
  | { readonly step: "cancel"; readonly pick: number };

const answers: fc.Arbitrary<Answer> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ answer: "full" as const }) },
  {
    weight: 4,
    arbitrary: fc.record({ answer: fc.constant("short" as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 2, arbitrary: fc.record({ answer: fc.constantFrom("EAGAIN" as const, "EINTR" as const) }) },
  { weight: 1, arbitrary: fc.constant({ answer: "EIO" as const }) },
);

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        step: fc.constant("send" as const),
        op: fc.constantFrom("read" as const, "write" as const),
        offset: fc.nat(FILE_BYTES + 2000),
        length: fc.integer({ min: 1, max: 4096 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ step: fc.constantFrom("plug" as const, "unplug" as const) }) },
    { weight: 4, arbitrary: fc.record({ step: fc.constantFrom("reap" as const) }) },
    { weight: 1, arbitrary: fc.record({ step: fc.constantFrom("late" as const) }) },
    {
      weight: 5,
      arbitrary: fc.record({
        step: fc.constant("script" as const),
        answers: fc.array(fc.constantFrom(0, 0, 1, 2, -Errno.EAGAIN, -Errno.EINTR, -Errno.EBUSY), { maxLength: 8 }),
      }),
    },
    { weight: 6, arbitrary: fc.record({ step: fc.constant("complete" as const), pick: fc.nat(), answer: answers }) },
    { weight: 1, arbitrary: fc.record({ step: fc.constant("cancel" as const), pick: fc.nat() }) },
  ),
  { maxLength: 60 },
);

/** The kernel's file: what a read finds does not depend on writes, so that order does not matter. */
class Kernel<R extends PropertyRig> {
  readonly rig: R;
  readonly seam: PropertySeam<R>;
  readonly written = new Map<number, number>();
  /** Requests that were answered with an error, or may be since they were cancelled. */
  readonly excused = new Set<IoRequest>();
  readonly requests: IoRequest[] = [];

  constructor(seam: PropertySeam<R>, rig: R) {
    this.seam = seam;
    this.rig = rig;
  }

  requestOf(entry: PendingEntry): IoRequest {
    return this.requests.find((request) => request.slot === entry.slot)!;
  }

  /** Moves the bytes and posts the completion. */
  answer(entry: PendingEntry, answer: Answer): void {
    const { rig } = this;
    if (answer.answer === "EIO") this.excused.add(this.requestOf(entry));
    if (answer.answer !== "full" && answer.answer !== "short" && answer.answer !== "end") {
      return entry.complete(-Errno[answer.answer]);
    }
    const memory = rig.memory.at(entry.address, entry.byteLength);
    let count = entry.byteLength;
    if (entry.isRead) count = Math.max(0, Math.min(count, FILE_BYTES - entry.offset));
    // A part of something, not 0: 0 is the end of the file, or no room left.
    if (answer.answer === "short" && count > 0) count = Math.max(1, Math.floor(count * answer.part));
    for (let at = 0; at < count; at++) {
      if (entry.isRead) memory[at] = patternAt(entry.offset + at);
      else this.written.set(entry.offset + at, memory[at]!);
    }
    entry.complete(count);
  }
}

function run<R extends PropertyRig>(kernel: Kernel<R>, step: Step): void {
  const { rig, seam } = kernel;
  switch (step.step) {
    case "send": {
      const request = rig.request(step.op, step.offset, step.length);
      const bytes = rig.bytesOf(request);
      for (let at = 0; at < bytes.length; at++) bytes[at] = step.op === "write" ? patternAt(step.offset + at) : 0xee;
      kernel.requests.push(request);
      return void rig.send(request);
    }
    case "reap":
      return void rig.queue.reap();
    case "late":
      return seam.post(rig, 0, 0x7fff_0000, -Errno.EIO);
    case "script":
      return seam.script(rig, [...step.answers]);
    case "complete": {
      const pending = seam.pending(rig);
      if (pending.length > 0) kernel.answer(pending[step.pick % pending.length]!, step.answer);
      return;
    }
    case "cancel": {
      const request = kernel.requests[step.pick % Math.max(1, kernel.requests.length)];
      if (request === undefined) return;
      kernel.excused.add(request);
      return rig.queue.cancel(request);
    }
  }
}

/** Answers everything until nothing is owed; timers get their turn where nothing is with the kernel. */
async function settle<R extends PropertyRig>(kernel: Kernel<R>): Promise<void> {
  const { rig, seam } = kernel;
  // A cancel that was refused stays queued although its request is gone: the timer takes it along.
  for (let turn = 0; rig.queue.active() > 0 || rig.state.queued > 0; turn++) {
    assert.ok(turn < 300, `requests are lost: ${JSON.stringify(rig.state)}`);
    for (const entry of seam.pending(rig)) kernel.answer(entry, { answer: "full" });
    if (rig.queue.ready()) rig.queue.reap();
    else if (seam.pending(rig).length === 0) await macrotask(1);
  }
}

function check<R extends PropertyRig>(kernel: Kernel<R>): void {
  const { rig, requests } = kernel;
  assert.equal(rig.outcomes.length, requests.length, "each request completes exactly once");
  assert.equal(new Set(rig.outcomes.map(({ request }) => request)).size, requests.length);
  for (const { request, result } of rig.outcomes) {
    const { op, offset, length } = request;
    if (result < 0) {
      assert.ok(kernel.excused.has(request), `a request without an excuse ended with ${result}`);
      continue;
    }
    const there = op === Opcode.read ? Math.max(0, Math.min(length, FILE_BYTES - offset)) : length;
    assert.equal(result, there);
    const bytes = rig.bytesOf(request);
    for (let at = 0; at < length; at++) {
      const expected = op === Opcode.write || at < there ? patternAt(offset + at) : 0;
      assert.equal(op === Opcode.write ? kernel.written.get(offset + at) : bytes[at], expected);
    }
    if (op === Opcode.read) {
      assert.ok(bytes.subarray(length).every((byte) => byte === 0xee), "bytes behind the request");
    }
  }
  rig.assertEmpty();
}

async function runProgram<R extends PropertyRig>(
  seam: PropertySeam<R>,
  program: readonly Step[],
  sqEntries: number,
  maxInflight: number,
): Promise<void> {
  using rig = seam.open(sqEntries, maxInflight);
  const kernel = new Kernel(seam, rig);
  let depth = 0;
  for (const step of program) {
    if (step.step === "plug") {
      plug();
      depth++;
    } else if (step.step === "unplug") {
      if (depth === 0) continue;
      depth--;
      unplug();
    } else run(kernel, step);
  }
  for (; depth > 0; depth--) unplug();
  seam.script(rig, []);
  await settle(kernel);
  check(kernel);
}

/** Runs `numRuns` random programs; fails with the seed and the smallest program that breaks the promise. */
export async function checkQueueProperty<R extends PropertyRig>(seam: PropertySeam<R>, numRuns: number): Promise<void> {
  const sizes = [fc.constantFrom(1, 2, 4, 16), fc.integer({ min: 1, max: 12 })] as const;
  const property = fc.asyncProperty(
    steps,
    ...sizes,
    (program, sqEntries, maxInflight) => runProgram(seam, program, sqEntries, maxInflight),
  );
  await fc.assert(property, { numRuns });
}
