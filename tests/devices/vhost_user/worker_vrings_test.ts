/** Queues in other Workers, over ports that the test holds both ends of. */
import assert from "node:assert/strict";
import type { DeviceModel, ManageAll } from "../../../devices/virtio/mod.ts";
import type { VringBackend, WorkerVrings } from "../../../devices/vhost_user/vring_backend.ts";
import {
  InThreadVringBackend,
  offerVrings,
  type VringPort,
  VringWorkers,
  workerIsGone,
} from "../../../devices/vhost_user/mod.ts";

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
  const backends = new VringWorkers([alive, dying]);
  const started = backends.startQueue({ index: 1 } as never);
  const reset = backends.reset();
  workerIsGone(dying, "A Worker has ended: out of memory");
  await assert.rejects(started, /out of memory/);
  // The others are waited for: nothing of theirs is unmapped under them.
  let settled = false;
  const failed = assert.rejects(reset, /out of memory/).then(() => settled = true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.ok(!settled);
  alive.answer({ value: undefined });
  await failed;
  await assert.rejects(backends.stopQueue(1), /out of memory/);
  assert.deepEqual([alive.sent.length, dying.sent.length], [1, 2]);
});

Deno.test("queue i belongs to Worker i modulo their number, and a refusal of its backend comes back in words", async () => {
  const ports = [new ManualPort(), new ManualPort()];
  const backends = new VringWorkers(ports);
  const stopped = backends.stopQueue(3);
  ports[1]!.answer({ value: 17 });
  assert.equal(await stopped, 17);
  const refused = backends.setSignal(2, "call", 5);
  ports[0]!.answer({ error: "Cannot do that" });
  await assert.rejects(refused, /Cannot do that/);
});

Deno.test("a backend behind a port answers each call, and tells of queues that broke", async () => {
  const port = new ManualPort();
  const backend = { stopQueue: (index: number) => Promise.resolve({ nextAvail: index + 1, kicked: true }) } as Partial<
    VringBackend
  > as WorkerVrings;
  offerVrings(port, backend);
  port.onmessage!(new MessageEvent("message", { data: { id: 7, method: "stopQueue", args: [4] } }));
  await new Promise((resolve) => setTimeout(resolve, 0));
  backend.onBroken!(2);
  assert.deepEqual<unknown[]>(port.sent, [{ id: 7, value: { nextAvail: 5, kicked: true } }, { broken: 2 }]);
});

Deno.test("a device may say which Worker serves a queue: virtio-scsi has control and events in one place", async () => {
  const ports = [new ManualPort(), new ManualPort(), new ManualPort()];
  const backends = new VringWorkers(ports, (index, count) => index < 2 ? 0 : (index - 2) % count);
  const served: number[] = [];
  for (let index = 0; index < 6; index++) {
    const kicked = backends.isKicked(index);
    const port = ports.findIndex(({ sent }) => sent.length > 0);
    ports[port]!.answer({ value: false });
    ports[port]!.sent.length = 0;
    await kicked;
    served.push(port);
  }
  assert.deepEqual(served, [0, 0, 0, 1, 2, 0]);
});

/** Two ends of a channel in one thread, which clone what they send and deliver it later, as a MessageChannel does. */
function linkedPorts(): readonly [VringPort, VringPort] {
  const end = (other: () => VringPort): VringPort => ({
    onmessage: null,
    postMessage(message) {
      const data = structuredClone(message);
      queueMicrotask(() => other().onmessage!(new MessageEvent("message", { data })));
    },
  });
  const near: VringPort = end(() => far);
  const far: VringPort = end(() => near);
  return [near, far];
}

/** A model that keeps its orders, and answers them when the test says so. */
class OrderedModel {
  readonly orders: unknown[] = [];
  readonly maySleep = true;
  readonly completionFds: readonly number[] = [];
  manageAll: ManageAll | null = null;
  readonly #name: string;
  #wait: Promise<void>;

  constructor(name: string, wait: Promise<void> = Promise.resolve()) {
    this.#name = name;
    this.#wait = wait;
  }

  connect(manageAll: ManageAll): void {
    this.manageAll = manageAll;
  }

  async manage(order: unknown): Promise<unknown> {
    this.orders.push(order);
    await this.#wait;
    if (order === "fail") throw new Error(`${this.#name} cannot`);
    return [this.#name];
  }
}

function backendOf(model: OrderedModel): InThreadVringBackend {
  return new InThreadVringBackend(model as unknown as DeviceModel, { poll: false, block: true, log: () => {} });
}

/** Two Workers, each with a model, and what the main Worker has of them. */
function managed(...models: readonly OrderedModel[]): VringWorkers {
  return new VringWorkers(models.map((model) => {
    const [near, far] = linkedPorts();
    offerVrings(far, backendOf(model));
    return near;
  }));
}

Deno.test("an order reaches the model of every Worker, and is answered when the last has carried it out", async () => {
  const gate = Promise.withResolvers<void>();
  const models = [new OrderedModel("a"), new OrderedModel("b", gate.promise)];
  const answers = managed(...models).manage({ abort: 7, lun: [1, 2] });
  let answered = false;
  answers.then(() => answered = true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(models.map(({ orders }) => orders), [[{ abort: 7, lun: [1, 2] }], [{ abort: 7, lun: [1, 2] }]]);
  assert.ok(!answered);
  gate.resolve();
  assert.deepEqual(await answers, [["a"], ["b"]]);
});

Deno.test("a model of one Worker reaches those of all, its own as well, and hears of a failure in words", async () => {
  const models = [new OrderedModel("a"), new OrderedModel("b")];
  managed(...models);
  assert.deepEqual(await models[1]!.manageAll!("reset"), [["a"], ["b"]]);
  await assert.rejects(models[0]!.manageAll!("fail"), /^Error: a cannot$/);
  assert.deepEqual(models.map(({ orders }) => orders), [["reset", "fail"], ["reset", "fail"]]);
});

Deno.test("an order to a Worker that has ended fails, and the others have carried it out by then", async () => {
  const model = new OrderedModel("a");
  const [near, far] = linkedPorts();
  offerVrings(far, backendOf(model));
  const dying = new ManualPort();
  const ordered = new VringWorkers([near, dying]).manage("reset");
  workerIsGone(dying, "A Worker has ended");
  await assert.rejects(ordered, /A Worker has ended/);
  assert.deepEqual(model.orders, ["reset"]);
});

Deno.test("where there are no other Workers a model reaches itself", async () => {
  const model = new OrderedModel("a");
  const backend = backendOf(model);
  assert.deepEqual(await model.manageAll!("reset"), [["a"]]);
  assert.deepEqual(await backend.manage("resize"), [["a"]]);
  await assert.rejects(backend.manage("fail"), /a cannot/);
});
