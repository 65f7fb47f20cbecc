/** The wake-up by two linked entries, on a kernel that does what the test tells it. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { plugged } from "../../../core/plug/plug.ts";
import { CompletionLoop } from "../../../core/queue/completion_loop.ts";
import type { RequestQueue } from "../../../core/queue/request_queue.ts";
import { WakeChain } from "../../../drivers/io_uring/wake_chain.ts";
import { type Ring, URING_CONSTANTS as U } from "../../../ffi/liburing/mod.ts";
import { signalSocket } from "../../ffi/signal_socket.ts";
import type { FakeRing, FakeSqe } from "../../support/fake_ring.ts";
import "../../support/libraries.ts";
import { macrotask, until } from "../../support/turns.ts";
import { newFile, Rig } from "./queue_rig.ts";

/** A rig whose event loop is woken by a chain, as in a Worker without the pipe handle. */
class ChainRig implements Disposable {
  readonly rig: Rig;
  readonly queue: RequestQueue;
  readonly completionLoop: CompletionLoop;
  readonly chain: WakeChain;
  #used = 0;
  #signalled = false;

  constructor(sqEntries: number) {
    this.rig = new Rig({ sqEntries });
    const ring: FakeRing = this.rig.ring;
    this.queue = this.rig.queue;
    this.completionLoop = new CompletionLoop(this.queue, "event", null);
    this.queue.observe(this.completionLoop);
    this.chain = new WakeChain(ring as unknown as Ring, this.rig.engine, () => this.completionLoop.woken());
    this.chain.ref();
    this.rig.engine.gate.replaceBy(this.chain);
    // The kernel's half: a completion signals the eventfd, and a chain that reads it sends its byte.
    ring.onEvent = () => {
      this.#signalled = true;
      this.#serve();
    };
    const enter = ring.enter.bind(ring);
    ring.enter = (toSubmit, minComplete, getEvents) => {
      const result = enter(toSubmit, minComplete, getEvents);
      this.#serve();
      return result;
    };
  }

  #serve(): void {
    const { sends } = this;
    if (!this.#signalled || sends.length === this.#used) return;
    this.#signalled = false;
    signalSocket(sends[this.#used++]!.fd);
  }

  /** The second halves of the chains that the kernel took. */
  get sends(): FakeSqe[] {
    return this.rig.ring.taken.filter((sqe) => sqe.opcode === U.IORING_OP_SEND.value);
  }

  [Symbol.dispose](): void {
    this.completionLoop.stop();
    this.rig[Symbol.dispose]();
    this.chain[Symbol.dispose]();
  }
}

Deno.test("a chain waits behind what was submitted: READ linked to SEND, neither telling of its success", async () => {
  using chained = new ChainRig(16);
  const { rig } = chained;
  rig.sendReads(2);
  const own = rig.ring.taken.filter((sqe) => sqe.slot === -1);
  const skip = U.IOSQE_CQE_SKIP_SUCCESS.value;
  assert.deepEqual(
    own.map((sqe) => [sqe.opcode, sqe.flags, sqe.length]),
    [[U.IORING_OP_READ.value, U.IOSQE_IO_LINK.value | skip, 8], [U.IORING_OP_SEND.value, skip, 1]],
  );
  rig.ring.completeAll();
  await until(() => rig.results.length === 2, "both complete");
});

Deno.test("a chain that waits is not doubled, and each wake-up takes one chain", async () => {
  using chained = new ChainRig(16);
  const { rig } = chained;
  for (let round = 1; round <= 5; round++) {
    rig.send(rig.request("read"), newFile(1));
    rig.send(rig.request("read"), newFile(1));
    assert.equal(chained.sends.length, round);
    rig.ring.completeAll();
    await until(() => rig.results.length === 2 * round, "the round completes");
  }
});

Deno.test("completions still wake when the kernel refused the chain and had taken the requests", async () => {
  for (const errno of [Errno.EBUSY, Errno.EAGAIN]) {
    using chained = new ChainRig(16);
    const { rig } = chained;
    // The requests are taken; the chain behind them is refused, as often as it is tried at once.
    rig.ring.script = [4, ...new Array(8).fill(-errno)];
    plugged(() => rig.sendReads(4));
    assert.equal(chained.sends.length, 0);
    rig.ring.script = [];
    rig.ring.completeAll();
    await until(() => rig.results.length === 4, "the reads complete");
  }
});

Deno.test("completions still wake when a refused request left no room for the chain", async () => {
  using chained = new ChainRig(2);
  const { rig } = chained;
  rig.ring.script = [1, -Errno.EBUSY];
  plugged(() => rig.sendReads(2));
  assert.deepEqual([rig.state.queued, rig.state.blocked, chained.sends.length], [1, true, 0]);
  rig.ring.completeAll();
  await until(() => rig.ring.pending.length === 1, "the second is submitted");
  rig.ring.completeAll();
  await until(() => rig.results.length === 2, "both complete");
});

Deno.test("a wake chain ends clean while it waits and when it does not", async () => {
  for (const waits of [false, true]) {
    using chained = new ChainRig(8);
    if (waits) chained.rig.send(chained.rig.request("read"));
    await macrotask();
  }
});
