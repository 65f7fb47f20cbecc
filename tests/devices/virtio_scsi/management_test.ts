/** Task management, events, and units that come, go and grow, on disks without a kernel. */
import assert from "node:assert/strict";
import { RANGE_LOCK_BYTES } from "../../../devices/disk/mod.ts";
import { placeOf, type ScsiOrder, VIRTIO_SCSI_EVENTS as E } from "../../../devices/virtio_scsi/mod.ts";
import { ScsiRig } from "../../support/scsi_rig.ts";

const READ = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const ABORT_TASK = 0;
const ABORT_TASK_SET = 1;
const CLEAR_ACA = 2;
const NEXUS_RESET = 4;
const UNIT_RESET = 5;
const QUERY_TASK = 6;
const QUERY_TASK_SET = 7;

const order = (rig: ScsiRig, given: ScsiOrder) => rig.model.manage(given);

Deno.test("an aborted command is waited for, answered as aborted, and only then is the function", async () => {
  const rig = new ScsiRig();
  const commands = [1, 2, 3].map((tag) => rig.offer(rig.command(READ, { inBytes: 512, tag })));
  rig.requests.device.pass();
  assert.equal(await rig.manage(QUERY_TASK, { tag: 2 }), 10);
  assert.equal(await rig.manage(QUERY_TASK, { tag: 9 }), 0);
  assert.equal(await rig.manage(QUERY_TASK_SET), 10);
  const answer = rig.startManaging(ABORT_TASK, { tag: 2 });
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(answer(), 0xee, "not before the command");
  await rig.finish();
  await rig.control.device.drain();
  assert.equal(answer(), 0);
  assert.deepEqual(commands.map((command) => rig.answer(command).response), [0, 2, 0]);
  assert.equal(await rig.manage(ABORT_TASK, { tag: 2 }), 0, "one that never was is gone as well");
  assert.equal(await rig.manage(ABORT_TASK_SET), 0);
});

Deno.test("a reset answers what is in flight, forgets what was set, and is told to the next command", async () => {
  const rig = new ScsiRig([{}, { lun: 1, facts: { serial: "b" } }]);
  rig.states[0]!.change({ writeBack: false, protect: true });
  const command = rig.offer(rig.command(READ, { inBytes: 512 }));
  rig.requests.device.pass();
  const answer = rig.startManaging(UNIT_RESET);
  await rig.finish();
  await rig.control.device.drain();
  assert.equal(answer(), 0);
  assert.equal(rig.answer(command).response, 4);
  assert.deepEqual([rig.states[0]!.writeBack, rig.states[0]!.protected], [true, false]);
  assert.equal((await rig.run([0, 0, 0, 0, 0, 0])).sense, "06/29/00");
  assert.equal((await rig.run([0, 0, 0, 0, 0, 0], { lun: 1 })).sense, "");
  assert.equal(await rig.manage(NEXUS_RESET), 0);
  assert.equal((await rig.run([0, 0, 0, 0, 0, 0], { lun: 1 })).sense, "06/29/00");
});

Deno.test("functions for units that there are not, and unknown ones, are refused each in its way", async () => {
  const rig = new ScsiRig();
  assert.equal(await rig.manage(UNIT_RESET, { lun: 7 }), 12);
  assert.equal(await rig.manage(UNIT_RESET, { target: 7 }), 3);
  assert.equal(await rig.manage(UNIT_RESET, { lunBytes: [0, 0, 0, 0] }), 3);
  assert.equal(await rig.manage(CLEAR_ACA), 11);
  assert.equal(await rig.manage(99), 11);
  assert.equal(rig.control1(Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0), 1)(), 11);
  assert.equal(rig.control1(Uint8Array.of(0, 0, 0, 0), 1)(), 11, "too short");
  assert.equal(rig.control1(Uint8Array.of(1, 0, 0, 0, ...new Array<number>(12).fill(0)), 5)(), 0, "no such events");
  rig.control.driver.add([{ address: rig.guest.allocate(24), length: 24, flags: 0 }]);
  rig.control.device.pass();
  assert.match(rig.control.queue.broken ?? "", /without room for its answer/);
});

Deno.test("an event takes a buffer; without one it is missed, and the next buffer says so", async () => {
  const rig = new ScsiRig();
  const event = { event: E.transportReset, place: placeOf(3, 5), reason: E.rescan };
  const buffers = Array.from({ length: 2 }, () => rig.postEvent());
  assert.equal(rig.events.device.hasWork(), false, "buffers alone are no work");
  assert.equal(rig.events.device.pass(), 0);
  await order(rig, { order: "event", event });
  assert.equal(buffers[0]!(), "01000000" + "0103000500000000" + "01000000");
  assert.equal(rig.notified[1], 1);
  await order(rig, { order: "event", event: { ...event, reason: E.removed } });
  assert.equal(buffers[1]!().slice(-8), "02000000");
  await order(rig, { order: "event", event });
  const late = rig.postEvent();
  assert.equal(rig.events.device.hasWork(), true);
  assert.equal(rig.events.device.pass(), 1);
  assert.equal(late(), "00000080" + "00".repeat(12));
  assert.equal(rig.events.device.hasWork(), false);
});

Deno.test("a LUN above 255 has the flat form in an event, as in the list of LUNs", async () => {
  const rig = new ScsiRig();
  const buffer = rig.postEvent();
  await order(rig, { order: "event", event: { event: E.transportReset, place: placeOf(0, 300), reason: E.rescan } });
  assert.equal(buffer().slice(8, 16), "0100412c");
});

Deno.test("a unit that goes answers what it has, then is none", async () => {
  const rig = new ScsiRig([{}, { lun: 1, facts: { serial: "b" } }]);
  const command = rig.offer(rig.command(READ, { inBytes: 512, lun: 1 }));
  rig.requests.device.pass();
  let gone = false;
  const hidden = Promise.resolve(order(rig, { order: "hide", place: placeOf(0, 1) })).then(() => void (gone = true));
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(gone, false);
  assert.equal((await rig.run([0, 0, 0, 0, 0, 0], { lun: 1 })).sense, "05/25/00");
  await hidden;
  assert.equal(rig.answer(command).status, 0);
  await order(rig, { order: "hide", place: placeOf(0, 9) });
});

Deno.test("a unit of another size is as large as it was told to be", async () => {
  const rig = new ScsiRig();
  await order(rig, { order: "resize", place: 0, blocks: 8 });
  const capacity = await rig.run([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], { inBytes: 8 });
  assert.equal(capacity.data.toHex(), "0000000700000200");
  assert.equal((await rig.run([0x28, 0, 0, 0, 0, 8, 0, 0, 1, 0], { inBytes: 512 })).sense, "05/21/00");
});

Deno.test("a driver that resets the device finds every unit as after power on", async () => {
  const rig = new ScsiRig();
  rig.states[0]!.change({ protect: true });
  await order(rig, { order: "reset", tasks: null });
  assert.equal(rig.states[0]!.protected, false);
  assert.equal((await rig.run([0, 0, 0, 0, 0, 0])).sense, "06/29/00");
});

Deno.test("a function reaches the commands of other Workers, and is answered when they are", async () => {
  const [first, second] = [new ScsiRig(), new ScsiRig()];
  first.model.connect((given) => Promise.all([first, second].map(({ model }) => model.manage(given))));
  const command = second.offer(second.command(READ, { inBytes: 512, tag: 7 }));
  second.requests.device.pass();
  assert.equal(await first.manage(QUERY_TASK, { tag: 7 }), 10);
  const answer = first.startManaging(UNIT_RESET);
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(answer(), 0xee, "not before the command of the other Worker");
  await second.finish();
  await first.control.device.drain();
  assert.deepEqual([answer(), second.answer(command).response], [0, 4]);
});

Deno.test("what a guest sets in one Worker holds in the others, and an attention is told once", async () => {
  const [first, second] = [new ScsiRig(), new ScsiRig([])];
  const unit = {
    ...{ facts: { blockBytes: 512, physicalBlockBytes: 512, blocks: 2048, readOnly: false, discards: true } },
    ...{ writeBack: true, state: first.states[0]!.memory, rangeLocks: new SharedArrayBuffer(RANGE_LOCK_BYTES) },
  };
  const facts = { ...unit.facts, zeroesDiscarded: true, discardBytes: 512, rotation: 0, serial: "s", wwn: "3" };
  const add: ScsiOrder = { order: "add", place: 0, unit: { ...unit, facts } };
  await assert.rejects(
    Promise.resolve(order(second, add)),
    /Cannot serve LUN 0:0 in a Worker: wanted its disk to be open/,
  );
  second.model.offerDevice(0, first.disk);
  await order(second, add);
  first.states[0]!.change({ protect: true });
  const write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
  assert.equal((await second.run(write, { out: new Uint8Array(512) })).sense, "07/27/00");
  first.states[0]!.raise(0x06_2a09);
  assert.equal((await second.run([0, 0, 0, 0, 0, 0])).sense, "06/2a/09");
  assert.equal((await first.run([0, 0, 0, 0, 0, 0])).sense, "");
});
