/** Controllers that go away with I/O in flight. Needs in PLUGIO_TEST_PLUGGED the addresses of two behind ports. */
import assert from "node:assert/strict";
import { type BlockDevice, openDevice, StorageError } from "../../../../mod.ts";
import { statPath } from "../../../../ffi/libc/mod.ts";
import "../../../support/libraries.ts";
import { askVrings, until } from "./host.ts";

/** Each with QEMU's name of the device, and the port that it is behind. */
const [UNPLUGGED, PULLED] = Deno.env.get("PLUGIO_TEST_PLUGGED")!.split(" ").map((entry) => {
  const [address = "", id = "", port = ""] = entry.split(",");
  return { address, id, port };
});

const IS_FULL = Deno.env.get("PLUGIO_TEST_FULL") === "1";
const READERS = 64;

/**
 * Reads without a pause from all buffers while `lose` takes the controller away. Each read has to end once, the last
 * one of each buffer with an error. `check` looks at the broken device, which the caller has not closed yet.
 */
async function loseController(
  address: string,
  lose: () => void,
  check: (disk: BlockDevice) => Promise<void> | void,
): Promise<void> {
  const disk = await openDevice(`nvme:${address}/1`);
  const before = { ...disk.stats };
  let [started, succeeded] = [0, 0];
  const read = async (buffer: Uint8Array, offset: number): Promise<unknown> => {
    for (;;) {
      started++;
      try {
        await disk.read(buffer, offset);
      } catch (error) {
        return error;
      }
      succeeded++;
    }
  };
  const ends = disk.allocate(READERS, 4096).map((buffer, index) => read(buffer, index * 4096));
  await until("every buffer was read", () => succeeded >= READERS);
  lose();
  const errors = await Promise.all(ends);
  for (const error of errors) {
    assert.ok(error instanceof StorageError, String(error));
    assert.match(error.errnoName ?? "", /^(ENODEV|EIO)$/);
  }
  await until("the device says broken", () => disk.broken);
  await assert.rejects(disk.read(new Uint8Array(4096), 0), { kind: "broken" });
  await check(disk);
  assert.equal(started, succeeded + READERS);
  assert.equal(disk.stats.completions - before.completions, disk.stats.requests - before.requests);
  assert.ok(disk.stats.errors - before.errors >= READERS);
  await disk.close();
  await assert.rejects(openDevice(`nvme:${address}/1`), StorageError);
}

/** Takes a controller out in order: the slot's switch, or QEMU's command, after which the guest waits five seconds. */
function unplug({ address, id }: { readonly address: string; readonly id: string }): void {
  if (IS_FULL) return askVrings("device_del", { id });
  const slots = "/sys/bus/pci/slots";
  // The write ends when the driver has let go; this test does not wait for it.
  const script = `for s in ${slots}/*; do if [ "$(cat $s/address).0" = ${address} ]; then echo 0 >$s/power; fi; done`;
  new Deno.Command("sh", { args: ["-c", script], stdin: "null", stdout: "null" }).spawn().unref();
}

// The process that waits at the switch ends after the test.
const SANITIZERS = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "a controller that is unplugged with I/O in flight is given back, and every read ends once with an error",
  SANITIZERS,
  async () => {
    const { address } = UNPLUGGED!;
    const isThere = () => statPath(`/sys/bus/pci/devices/${address}`) !== null;
    await loseController(address, () => unplug(UNPLUGGED!), async ({ notes }) => {
      assert.match(notes.join(), /The kernel asked for the controller and got it/);
      await until("the kernel has removed the controller", () => !isThere());
    });
  },
);

/** The PCI Express capability, and in it the slot's control register with three of its fields (PCI_EXP_* of Linux). */
const CAPABILITY = 0x10;
const SLOT_CONTROL = 0x18;
const POWER_OFF = 0x0400;
const INDICATOR_OFF = 0x0300;
const INTERRUPTS = 0x0020;
/** Where the list of capabilities begins (PCI_CAPABILITY_LIST). */
const FIRST_CAPABILITY = 0x34;

/**
 * Pulls out what is in the slot of a port: QEMU takes it away when the slot has no power. Then the port is as it was, so
 * that its driver does not find a slot that is switched off already, but one from which something has vanished.
 */
function pullOut(port: string): void {
  const path = `/sys/bus/pci/devices/${port}/config`;
  const config = new Deno.Command("cat", { args: [path] }).outputSync().stdout;
  let at = config[FIRST_CAPABILITY]!;
  while (at !== 0 && config[at] !== CAPABILITY) at = config[at + 1]!;
  assert.notEqual(at, 0, "the port has no PCI Express capability");
  const place = at + SLOT_CONTROL;
  const control = config[place]! | (config[place + 1]! << 8);
  const write = (value: number) => {
    const bytes = [value & 0xff, value >>> 8].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
    // In one piece: the register is one word.
    return `printf '${bytes}' | dd of=${path} bs=2 seek=${place / 2} conv=notrunc 2>/dev/null`;
  };
  const off = (control | POWER_OFF | INDICATOR_OFF) & ~INTERRUPTS;
  const script = `${write(off)} && ${write(control)}`;
  assert.ok(new Deno.Command("sh", { args: ["-c", script] }).outputSync().success);
}

Deno.test("a controller that is pulled out with I/O in flight is broken, and every read ends once with an error", async () => {
  const { address, port } = PULLED!;
  const isThere = () => statPath(`/sys/bus/pci/devices/${address}`) !== null;
  await loseController(address, () => pullOut(port), () => {
    return until("the kernel has removed the controller", () => !isThere());
  });
});
