/** A driver as a value: what is one, whose options it has, and what the compiler says of the options of each. */
import assert from "node:assert/strict";
import { integer, LIST } from "../../core/base/options.ts";
import { type DriverDescriptor, DRIVERS, openBackend, splitTarget } from "../../drivers/driver.ts";
import { pathOfTarget } from "../../drivers/probe.ts";
import { MemoryDisk } from "../../drivers/testing.ts";
import { type DeviceOptions, DRIVER_NAMES, openDevice, traceEvents } from "../../mod.ts";
import "../support/libraries.ts";

/** A driver that hands over to the memory driver and keeps what it was asked for. */
function spy(more: Partial<DriverDescriptor<{ copies?: number }>> = {}) {
  const calls: [address: string, options: object][] = [];
  const driver: DriverDescriptor<{ copies?: number }> = {
    name: "spy",
    options: { copies: integer(1, 3, "an integer from 1 to 3") },
    open(address, options) {
      calls.push([address, options]);
      return openBackend("memory:64KiB");
    },
    ...more,
  };
  return { driver, calls };
}

Deno.test("a driver that is a value opens what its name does not stand before, and what it does", async () => {
  const { driver, calls } = spy();
  for (const target of ["any", "spy:any", "memory:64KiB", "io_uring:/x"]) {
    await using disk = await openDevice(target, { driver });
    assert.equal(disk.size, 65_536);
  }
  assert.deepEqual(calls.map(([address]) => address), ["any", "any", "memory:64KiB", "io_uring:/x"]);
});

Deno.test("a driver gets its own options and those of every driver, checked, and nothing that is not its business", async () => {
  const { driver, calls } = spy();
  await (await openDevice("x", { driver, copies: 2, readOnly: true, batch: "device", drainMs: 5 })).close();
  assert.deepEqual(calls, [["x", { copies: 2, readOnly: true, batch: "plug" }]]);
  const wrong: [object, string, string][] = [
    [{ copies: 4 }, "RangeError", "Cannot use copies 4: wanted an integer from 1 to 3"],
    [{ copies: "2" }, "TypeError", 'Cannot use copies "2": wanted an integer from 1 to 3'],
    [{ copys: 2 }, "TypeError", "Cannot use option copys: it is unknown, did you mean copies?"],
    [{ maxBatch: 2 }, "RangeError", "Cannot use maxBatch with driver spy: it is an option of the driver linux_aio"],
  ];
  for (const [options, name, message] of wrong) {
    await assert.rejects(openDevice("x", { driver, ...options } as DeviceOptions), { name, message });
  }
  assert.equal(calls.length, 1);
});

Deno.test("each option is read once, the driver too", async () => {
  const { driver } = spy();
  const reads: string[] = [];
  const options = new Proxy({ driver, copies: 1 }, {
    get: (target, name) => {
      reads.push(String(name));
      return Reflect.get(target, name);
    },
  });
  await (await openDevice("x", options)).close();
  assert.deepEqual(reads.filter((name) => name in options).sort(), ["copies", "driver"]);
});

Deno.test("what is no driver is refused in a line that names the field", async () => {
  const open = () => openBackend("memory:512");
  const wrong: [unknown, RegExp][] = [
    [{}, /^Cannot use driver .* with name undefined: wanted letters, digits and underscores$/],
    [{ name: "a:b", open }, /with name "a:b": wanted letters, digits and underscores$/],
    [{ name: "a" }, /^Cannot use driver a with open undefined: wanted a function$/],
    [{ name: "a", open: "io_uring" }, /^Cannot use driver a with open "io_uring": wanted a function$/],
    [{ name: "a", open, takesPath: 1 }, /^Cannot use driver a with takesPath 1: wanted true or false$/],
    [{ name: "a", open, options: [].values }, /^Cannot use driver a with options .*: wanted an object of rules$/],
    [{ name: "a", open, options: { copies: 5 } }, /^Cannot use driver a with options .*: wanted an object of rules$/],
    [{ name: "a", open, options: { direct: LIST } }, /^Cannot use driver a with an option direct of its own: every/],
    [{ name: "a", open, traceEvents: "x" }, /^Cannot use driver a with traceEvents "x": wanted an array$/],
    [{ name: "a", open, probe: 5 }, /^Cannot use driver a with probe 5: wanted a function$/],
    [{ name: "a", open: () => undefined }, /^Cannot use driver a: its open returned undefined, wanted a Backend$/],
    [{ name: "a", open: () => ({}) }, /^Cannot use driver a: its open returned .*, wanted a Backend$/],
    [[], /^Cannot use driver .* with name undefined/],
    [5, /^Cannot use driver 5: wanted io_uring, linux_aio, memory, blkio, nbd, nvme, or a driver$/],
    [null, /^Cannot use driver null: wanted io_uring/],
    [open, /^Cannot use driver .*: wanted io_uring/],
  ];
  for (const [driver, message] of wrong) {
    await assert.rejects(openDevice("memory:512", { driver: driver as string }), { name: "TypeError", message });
  }
});

Deno.test("a name that is nearly that of a driver is answered with it", async () => {
  for (const [name, meant] of [["iouring", "io_uring"], ["linux-aio", "linux_aio"], ["nvmee", "nvme"]] as const) {
    const message = `Cannot use driver "${name}": did you mean ${meant}?`;
    await assert.rejects(openDevice("/x", { driver: name }), { name: "RangeError", message });
  }
});

Deno.test("an option of other drivers is refused with their names, whatever it would have done", async () => {
  const wrong: [string, DeviceOptions, string][] = [
    ["memory:512", { keepTick: true }, "io_uring, linux_aio, blkio"],
    ["nvme:0000:01:00.0/1", { wakeup: "auto" }, "io_uring, linux_aio, blkio"],
    ["linux_aio:/x", { registered: true }, "io_uring"],
    ["/x", { maxBatch: 3 }, "linux_aio"],
    ["/x", { memory: new MemoryDisk(512) }, "memory"],
    ["/x", { blkio: { "queue-size": 1 } }, "blkio"],
  ];
  for (const [target, options, owners] of wrong) {
    const [name] = Object.keys(options);
    const whose = `the driver${owners.includes(",") ? "s" : ""} ${owners}`;
    await assert.rejects(openDevice(target, options), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.match(error.message, new RegExp(`^Cannot use ${name} with driver \\w+: it is an option of ${whose}$`));
      return true;
    });
  }
  // Properties that are none ask for nothing.
  await (await openDevice("memory:512", { blkio: {} } as DeviceOptions)).close();
});

Deno.test("each driver of plugio's own has an example that leads to it", () => {
  for (const { name, example } of DRIVERS) {
    const { driver, address } = splitTarget(example!);
    assert.equal(driver.name, name);
    assert.ok(address.length > 0 && pathOfTarget(example!).length > 0);
  }
  assert.deepEqual(DRIVERS.map(({ name }) => name), DRIVER_NAMES);
});

Deno.test("the trace events of a driver are known once it was chosen", async () => {
  const { driver } = spy({ traceEvents: ["plugio:spy_do_submit"] });
  assert.ok(traceEvents().includes("plugio:luring_do_submit") && !traceEvents().includes("plugio:spy_do_submit"));
  await (await openDevice("x", { driver })).close();
  assert.equal(traceEvents().filter((name) => name === "plugio:spy_do_submit").length, 1);
});

/** Never called: the compiler says whether each line is right. */
export async function typesOfOptions(path: string, name: string, wide: DeviceOptions): Promise<void> {
  const { driver } = spy();
  await openDevice("/x", { keepTick: false, registered: false });
  await openDevice("linux_aio:/x", { maxBatch: 3, keepTick: false });
  await openDevice("/x", { driver: "linux_aio", maxBatch: 3 });
  await openDevice("blkio:io_uring:/x", { blkio: { "queue-size": 8 } });
  await openDevice("memory:1MiB", { memory: new MemoryDisk(512) });
  await openDevice("x", { driver, copies: 2 });
  // What is known when the program runs is checked then.
  await openDevice(path, { maxBatch: 3 });
  await openDevice(path, { driver: name, maxBatch: 3 });
  await openDevice(path, wide);
  // @ts-expect-error -- the driver is io_uring
  await openDevice("/x", { maxBatch: 3 });
  // @ts-expect-error -- of linux_aio only
  await openDevice(path, { driver: "io_uring", maxBatch: 3 });
  // @ts-expect-error -- of blkio only
  await openDevice("linux_aio:/x", { blkio: {} });
  // @ts-expect-error -- of memory only
  await openDevice(path, { driver: "nvme", memory: new MemoryDisk(512) });
  // @ts-expect-error -- the driver waits for no kernel
  await openDevice("memory:1MiB", { keepTick: true });
  // @ts-expect-error -- the driver has no queue of the kernel's
  await openDevice("nvme:0000:01:00.0/1", { keepTick: true });
  // @ts-expect-error -- an option of another type
  await openDevice("x", { driver, copies: "2" });
  // @ts-expect-error -- of linux_aio only
  await openDevice("x", { driver, maxBatch: 2 });
}
