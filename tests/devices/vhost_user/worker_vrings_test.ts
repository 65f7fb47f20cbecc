/** Queues in other Workers, over ports that the test holds both ends of. */
import assert from "node:assert/strict";
import type { VringBackend } from "../../../devices/vhost_user/vring_backend.ts";
import { offerVrings, type VringPort, VringWorkers, workerIsGone } from "../../../devices/vhost_user/mod.ts";

/** A port whose other end the test plays: what was sent to it, in order. */
class ManualPort implements VringPort {
  readonly sent: { readonly id: number; readonly method: string }[] = [];
  onmessage: VringPort["onmessage"] = null;

  postMessage(message: unknown): void {
    this.sent.push(message as ManualPort["sent"][number]);
  }

  /** The other end answers its last call. */
  answer(answer: { readonly value: unknown } | { readonly error: string }): void {
    this.onmessage!(new MessageEvent("message", { data: { id: this.sent.at(-1)!.id, ...answer } }));
  }
}

Deno.test("calls of a Worker that has ended fail, those under way and those to come", async () => {
  const [alive, dying] = [new ManualPort(), new ManualPort()];
  const hosts = new VringWorkers([alive, dying]);
  const started = hosts.startQueue({ index: 1 } as never);
  const reset = hosts.reset();
  workerIsGone(dying, "A Worker has ended: out of memory");
  await assert.rejects(started, /out of memory/);
  // The others are waited for: nothing of theirs is unmapped under them.
  let settled = false;
  const failed = assert.rejects(reset, /out of memory/).then(() => settled = true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.ok(!settled);
  alive.answer({ value: undefined });
  await failed;
  await assert.rejects(hosts.stopQueue(1), /out of memory/);
  assert.deepEqual([alive.sent.length, dying.sent.length], [1, 2]);
});

Deno.test("queue i belongs to Worker i modulo their number, and a refusal of its host comes back in words", async () => {
  const ports = [new ManualPort(), new ManualPort()];
  const hosts = new VringWorkers(ports);
  const stopped = hosts.stopQueue(3);
  ports[1]!.answer({ value: 17 });
  assert.equal(await stopped, 17);
  const refused = hosts.setSignal(2, "call", 5);
  ports[0]!.answer({ error: "Cannot do that" });
  await assert.rejects(refused, /Cannot do that/);
});

Deno.test("a host behind a port answers each call, and tells of queues that broke", async () => {
  const port = new ManualPort();
  const host = { stopQueue: (index: number) => Promise.resolve({ nextAvail: index + 1, kicked: true }) } as Partial<
    VringBackend
  > as VringBackend;
  offerVrings(port, host);
  port.onmessage!(new MessageEvent("message", { data: { id: 7, method: "stopQueue", args: [4] } }));
  await new Promise((resolve) => setTimeout(resolve, 0));
  host.onBroken!(2);
  assert.deepEqual<unknown[]>(port.sent, [{ id: 7, value: { nextAvail: 5, kicked: true } }, { broken: 2 }]);
});
