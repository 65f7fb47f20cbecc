/** The doctor and binding on made-up machines: what is found, what is refused, and what is undone. */
import assert from "node:assert/strict";
import { StorageError } from "../../../core/base/errors.ts";
import { type BindSystem, bindToVfio, unbindFromVfio } from "../../../drivers/nvme/bind.ts";
import { type DoctorContext, examine, neededLockedBytes } from "../../../drivers/nvme/doctor.ts";
import { nvmeAddresses, pciFacts } from "../../../drivers/nvme/pci.ts";

const A = "0000:01:00.0";
const B = "0000:01:00.1";

/** A machine of files and links. Writing to it moves devices between drivers, as the kernel would. */
class FakeMachine implements BindSystem {
  readonly files = new Map<string, string>();
  readonly drivers = new Map<string, string>();
  readonly classes = new Map([[A, "0x010802"], [B, "0x020000"]]);
  readonly written: string[] = [];
  readonly held = new Set<string>();
  group: string | null = "7";
  groupMembers = [A];
  vfioLoaded = true;
  vfioTakes = true;
  unusable = new Set<string>();
  readonly #overrides = new Map<string, string>();

  constructor() {
    this.drivers.set(A, "nvme");
    this.files.set("/proc/self/mountinfo", "");
    this.files.set("/sys/class/block/nvme0n1/dev", "259:0\n");
    this.files.set("/sys/dev/block/259:0/uevent", "DEVNAME=nvme0n1\n");
  }

  readText(path: string): string | null {
    const match = /^\/sys\/bus\/pci\/devices\/(.+)\/class$/.exec(path);
    return (match === null ? this.files.get(path) : this.classes.get(match[1]!)) ?? null;
  }

  list(path: string): readonly string[] {
    if (path === "/sys/bus/pci/devices") return [...this.classes.keys()];
    if (path === "/sys/bus/pci/drivers/vfio-pci") return this.vfioLoaded ? ["bind"] : [];
    if (path === `/sys/kernel/iommu_groups/${this.group}/devices`) return this.groupMembers;
    if (this.drivers.get(A) !== "nvme") return [];
    if (path === `/sys/bus/pci/devices/${A}/nvme`) return ["nvme0"];
    return path === `/sys/bus/pci/devices/${A}/nvme/nvme0` ? ["nvme0c0n1", "power"] : [];
  }

  readLink(path: string): string | null {
    const [, address = "", what] = /^\/sys\/bus\/pci\/devices\/(.+)\/(driver|iommu_group)$/.exec(path) ?? [];
    if (what === "iommu_group") return this.group === null ? null : `../../iommu_groups/${this.group}`;
    const driver = this.drivers.get(address);
    return driver === undefined ? null : `../../bus/pci/drivers/${driver}`;
  }

  identify(): null {
    return null;
  }

  loopBacking(): null {
    return null;
  }

  mayUse(path: string): boolean | null {
    return !this.unusable.has(path);
  }

  isHeld(node: string): boolean {
    return this.held.has(node);
  }

  write(path: string, text: string): void {
    this.written.push(`${path} < ${text.trim()}`);
    const [, address = ""] = /devices\/(.+)\/driver_override$/.exec(path) ?? [];
    if (address !== "") this.#overrides.set(address, text.trim());
    else if (path.endsWith("/unbind")) this.drivers.delete(text);
    else if (path.endsWith("/drivers_probe")) this.#probe(text);
  }

  #probe(address: string): void {
    const override = this.#overrides.get(address) ?? "";
    if (override === "vfio-pci" && !this.vfioTakes) {
      throw new StorageError({ kind: "io", op: "write", target: address });
    }
    this.drivers.set(address, override === "" ? "nvme" : override);
  }
}

const CONTEXT: DoctorContext = {
  lockedLimitBytes: 64 * 1024 * 1024,
  lockedExempt: false,
  libraryFailure: null,
  isHeld: () => false,
};

/** Texts and mending of what stands in the way. */
function obstacles(machine: FakeMachine, context: Partial<DoctorContext> = {}, address = A): string[] {
  const findings = examine(pciFacts(address, machine)!, machine, { ...CONTEXT, ...context });
  return findings.filter(({ obstacle }) => obstacle).map(({ text, mend }) => `${text} -> ${mend}`);
}

function bind(machine: FakeMachine) {
  return bindToVfio(pciFacts(A, machine)!, machine);
}

Deno.test("a controller is found by its class, and its namespaces behind multipath by their own names", () => {
  const machine = new FakeMachine();
  assert.deepEqual(nvmeAddresses(machine), [A]);
  assert.deepEqual(pciFacts(A, machine)!.namespaces, [{ path: "/dev/nvme0n1", uses: [] }]);
  assert.equal(pciFacts("0000:09:00.0", machine), null);
});

Deno.test("bound to the kernel's driver: one thing to mend, by the command that binds", () => {
  assert.deepEqual(obstacles(new FakeMachine()), [
    `it is bound to nvme, not to vfio-pci -> deno run -P cli.ts nvme bind ${A}`,
  ]);
});

Deno.test("bound to vfio-pci with everything in place: nothing stands in the way", () => {
  const machine = new FakeMachine();
  machine.drivers.set(A, "vfio-pci");
  assert.deepEqual(obstacles(machine), []);
  assert.match(obstacles(machine, { isHeld: (node) => node === "/dev/vfio/7" }).join(), /has the controller open/);
});

Deno.test("each obstacle has its sentence and its remedy", () => {
  const machine = new FakeMachine();
  machine.group = null;
  assert.match(obstacles(machine).join("\n"), /in no IOMMU group.*intel_iommu=on/);
  machine.group = "7";
  machine.groupMembers = [A, B];
  machine.drivers.set(B, "e1000");
  assert.match(
    obstacles(machine).join("\n"),
    new RegExp(`${B} is in the same.*bound to e1000 -> echo ${B} > .*unbind`),
  );
  machine.drivers.set(B, "pcieport");
  assert.doesNotMatch(obstacles(machine).join("\n"), /same IOMMU group/);
  machine.vfioLoaded = false;
  assert.match(obstacles(machine).join("\n"), /vfio-pci is not loaded -> modprobe vfio-pci/);
  machine.drivers.set(A, "vfio-pci");
  machine.unusable.add("/dev/vfio/7");
  assert.match(obstacles(machine).join("\n"), /\/dev\/vfio\/7 may not be opened -> sudo chown \$USER \/dev\/vfio\/7/);
  assert.match(obstacles(machine, { libraryFailure: "no compiler" }).join("\n"), /no compiler -> deno task build:nvme/);
});

Deno.test("locked memory: the need is compared with the limit, unless the limit does not count", () => {
  const machine = new FakeMachine();
  machine.drivers.set(A, "vfio-pci");
  const needed = neededLockedBytes();
  assert.match(obstacles(machine, { lockedLimitBytes: needed - 1 }).join(), /-> ulimit -l \d+/);
  assert.deepEqual(obstacles(machine, { lockedLimitBytes: needed }), []);
  assert.deepEqual(obstacles(machine, { lockedLimitBytes: 0, lockedExempt: true }), []);
});

Deno.test("a mounted namespace stands in the way, and binding refuses without a change", () => {
  const machine = new FakeMachine();
  machine.files.set("/proc/self/mountinfo", "30 1 259:0 / /data rw - ext4 /dev/nvme0n1 rw\n");
  assert.match(obstacles(machine).join("\n"), /\/dev\/nvme0n1 is mounted on \/data -> umount \/data/);
  assert.throws(() => bind(machine), /Cannot bind 0000:01:00.0: \/dev\/nvme0n1 is mounted on \/data; wanted it not/);
  assert.deepEqual(machine.written, []);
});

Deno.test("binding refuses what would not work or take something away, and writes nothing", () => {
  const change: readonly (readonly [(machine: FakeMachine) => void, RegExp])[] = [
    [(machine) => machine.held.add("/dev/nvme0n1"), /claimed by a program/],
    [(machine) => machine.group = null, /in no IOMMU group/],
    [(machine) => machine.vfioLoaded = false, /vfio-pci is not loaded/],
    [(machine) => machine.classes.set(A, "0x010601"), /has class 0x010601/],
    [(machine) => machine.files.delete("/proc/self/mountinfo"), /what uses \/dev\/nvme0n1 is not known/],
    [(machine) => {
      machine.groupMembers = [A, B];
      machine.drivers.set(B, "e1000");
    }, /0000:01:00.1 of the same IOMMU group is bound to e1000/],
  ];
  for (const [prepare, pattern] of change) {
    const machine = new FakeMachine();
    prepare(machine);
    assert.throws(() => bind(machine), pattern);
    assert.deepEqual(machine.written, []);
  }
});

Deno.test("binding and giving back are each other's opposite, and doing one twice changes nothing", () => {
  const machine = new FakeMachine();
  assert.deepEqual(bind(machine), { driver: "vfio-pci", changed: true });
  assert.deepEqual(bind(machine), { driver: "vfio-pci", changed: false });
  const unbind = () => unbindFromVfio(pciFacts(A, machine)!, machine);
  assert.deepEqual(unbind(), { driver: "nvme", changed: true });
  assert.deepEqual(unbind(), { driver: "nvme", changed: false });
  assert.equal(machine.written.length, 6);
});

Deno.test("a controller that a program has open is not given back: the kernel would wait for ever", () => {
  const machine = new FakeMachine();
  bind(machine);
  machine.held.add("/dev/vfio/7");
  assert.throws(() => unbindFromVfio(pciFacts(A, machine)!, machine), /a program has it open/);
  assert.equal(machine.drivers.get(A), "vfio-pci");
});

Deno.test("when vfio-pci does not take the controller, the kernel's driver gets it back", () => {
  const machine = new FakeMachine();
  machine.vfioTakes = false;
  assert.throws(() => bind(machine), StorageError);
  assert.equal(machine.drivers.get(A), "nvme");
});
