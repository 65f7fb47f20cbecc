/** Which driver a target and the option choose, and what is refused before any driver is asked. */
import assert from "node:assert/strict";
import { openDevice } from "../../mod.ts";
import "../support/libraries.ts";
import { TempDir } from "../support/temp_file.ts";

for (const name of ["constructor", "toString", "hasOwnProperty", "__proto__"]) {
  Deno.test(`what every object has is no driver: ${name}`, async () => {
    await assert.rejects(openDevice("/x", { driver: name }), {
      name: "RangeError",
      message: `Cannot use driver "${name}": wanted io_uring, linux_aio, memory, blkio, nbd, nvme`,
    });
  });
}

Deno.test("a path may begin with what every object has and a colon", async () => {
  using folder = new TempDir();
  const path = folder.file("any", 512);
  const before = Deno.cwd();
  Deno.chdir(path.slice(0, path.lastIndexOf("/")));
  try {
    Deno.renameSync(path, "constructor:x");
    await using disk = await openDevice("constructor:x", { readOnly: true });
    assert.equal(disk.size, 512);
  } finally {
    Deno.chdir(before);
  }
});

for (const target of [undefined, null, 5, ["memory:64KiB"], {}]) {
  Deno.test(`a target that is no string is a TypeError: ${target}`, async () => {
    await assert.rejects(openDevice(target as string), {
      name: "TypeError",
      message: /^Cannot open a target of type \w+: wanted a string, a path or driver:target, or a file: URL$/,
    });
  });
}

for (const target of ["", "io_uring:", "linux_aio:", "blkio:io_uring:"]) {
  Deno.test(`a target without a path is refused: ${JSON.stringify(target)}`, async () => {
    await assert.rejects(openDevice(target), { name: "RangeError" });
  });
}

for (
  const [drainMs, name] of [[-1, "RangeError"], [NaN, "RangeError"], ["5", "TypeError"], [5n, "TypeError"]] as const
) {
  const given = typeof drainMs === "string" ? `"${drainMs}"` : typeof drainMs === "bigint" ? `${drainMs}n` : drainMs;
  const wanted = { name, message: `Cannot use drainMs ${given}: wanted a number of milliseconds, 0 or more` };

  Deno.test(`a device does not open with drainMs ${typeof drainMs} ${drainMs}`, async () => {
    await assert.rejects(openDevice("memory:64KiB", { drainMs: drainMs as number }), wanted);
  });

  Deno.test(`a device does not close with drainMs ${typeof drainMs} ${drainMs}, and works on`, async () => {
    const device = await openDevice("memory:64KiB");
    await assert.rejects(device.close({ drainMs: drainMs as number }), wanted);
    assert.equal(await device.read(new Uint8Array(512), 0), 512);
    await assert.rejects(device.close(null!), /^TypeError: Cannot use options null: wanted an object of options$/);
    await device.close();
  });
}

Deno.test("a driver that contradicts the prefix of the target is refused before anything is opened", async () => {
  for (
    const [driver, target, prefix] of [
      ["linux_aio", "blkio:io_uring:/x", "blkio"],
      ["io_uring", "memory:1MiB", "memory"],
      ["blkio", "linux_aio:/x", "linux_aio"],
    ] as const
  ) {
    await assert.rejects(openDevice(target, { driver }), {
      name: "RangeError",
      message: `Cannot open ${target} with driver ${driver}: its prefix names driver ${prefix}; wanted one of the two`,
    });
  }
  await using disk = await openDevice("memory:1MiB", { driver: "memory" });
  assert.equal(disk.size, 1 << 20);
});
