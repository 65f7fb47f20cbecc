/** The text of /proc and /sys, by fixtures. */
import assert from "node:assert/strict";
import {
  Capability,
  hasCapability,
  isInitialUserNamespace,
  kernelAtLeast,
  parseIgnoredSignals,
  parseInteger,
  parseMountInfo,
  parseProcessStatus,
  parseScheduler,
  parseSwaps,
  ueventValue,
} from "../../core/system/sysfs_text.ts";

Deno.test("mountinfo is read with optional fields, escapes and both places of the read-only option", () => {
  const mounts = parseMountInfo([
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
    "31 27 8:17 / /mnt/a\\040b\\011c\\134d rw shared:2 master:3 propagate_from:1 - xfs /dev/disk\\0401 rw",
    "32 27 8:18 / /mnt/cd ro,nosuid shared:4 - iso9660 /dev/sdb2 rw",
    "33 27 8:19 / /mnt/damaged rw - ext4 /dev/sdb3 ro,errors=remount-ro",
    "34 27 0:45 /sub /mnt/pool rw - btrfs /dev/sdc rw,rootcontext=x,subvol=/sub",
  ].join("\n"));
  assert.deepEqual(mounts.map(({ mountPoint }) => mountPoint), [
    "/",
    "/mnt/a b\tc\\d",
    "/mnt/cd",
    "/mnt/damaged",
    "/mnt/pool",
  ]);
  assert.deepEqual(mounts.map(({ readOnly }) => readOnly), [false, false, true, true, false]);
  assert.deepEqual(mounts[1], {
    id: 31,
    deviceNumber: "8:17",
    mountPoint: "/mnt/a b\tc\\d",
    readOnly: false,
    fileSystem: "xfs",
    source: "/dev/disk 1",
  });
});

Deno.test("mountinfo without a line, with half a line or with noise gives no mount", () => {
  for (const text of ["", "\n\n", "broken line", "27 1 254:0 / /", "27 - ext4", " - "]) {
    assert.deepEqual(parseMountInfo(text), [], JSON.stringify(text));
  }
});

Deno.test("swaps are read without their heading, with escapes", () => {
  const heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
  assert.deepEqual(parseSwaps(`${heading}/dev/sdd2      partition\t1\t\t0\t\t-2\n/swap\\040file file\t\t1\t0\t-3\n`), [
    "/dev/sdd2",
    "/swap file",
  ]);
  assert.deepEqual(parseSwaps(heading), []);
  assert.deepEqual(parseSwaps(""), []);
});

Deno.test("the scheduler in use is the one in brackets", () => {
  assert.deepEqual(parseScheduler("none [mq-deadline] kyber bfq \n"), {
    active: "mq-deadline",
    available: ["none", "mq-deadline", "kyber", "bfq"],
  });
  assert.deepEqual(parseScheduler("[none]\n"), { active: "none", available: ["none"] });
  assert.deepEqual(parseScheduler("none\n"), { active: null, available: ["none"] });
  assert.deepEqual(parseScheduler(""), { active: null, available: [] });
});

Deno.test("a uevent value is found by its whole name", () => {
  const text = "MAJOR=8\nMINOR=0\nDEVNAME=cciss/c0d0\nOTHERDEVNAME=x\nDEVTYPE=disk\n";
  assert.equal(ueventValue(text, "DEVNAME"), "cciss/c0d0");
  assert.equal(ueventValue(text, "NAME"), null);
  assert.equal(ueventValue("", "DEVNAME"), null);
});

Deno.test("a number is a number or null", () => {
  assert.equal(parseInteger("256\n"), 256);
  assert.equal(parseInteger("-1\n"), -1);
  for (const text of [null, "", "x", "1 2", "0x10", "1.5"]) assert.equal(parseInteger(text), null);
});

const STATUS = "Name:\tdeno\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1001\nGroups:\t27 100 1001 \n" +
  "CapInh:\t0000000000000000\nCapEff:\t0000000000204000\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n";

Deno.test("the status of a process tells capabilities, groups and seccomp", () => {
  const status = parseProcessStatus(STATUS);
  assert.deepEqual(status.groups, [1001, 27, 100]);
  assert.equal(status.seccompMode, 2);
  assert.ok(hasCapability(status.effectiveCapabilities, Capability.CAP_IPC_LOCK));
  assert.ok(hasCapability(status.effectiveCapabilities, Capability.CAP_SYS_ADMIN));
  assert.ok(!hasCapability(status.effectiveCapabilities, 0));
});

Deno.test("a status that lacks everything grants nothing", () => {
  assert.deepEqual(parseProcessStatus(""), { effectiveCapabilities: 0n, groups: [], seccompMode: null });
  assert.deepEqual(parseProcessStatus("CapEff:\tnonsense\nGroups:\t\nSeccomp:\t?\n"), {
    effectiveCapabilities: 0n,
    groups: [],
    seccompMode: null,
  });
});

Deno.test("capabilities above bit 31 are not cut off", () => {
  const { effectiveCapabilities } = parseProcessStatus("CapEff:\t000001ffffffffff\n");
  assert.ok(hasCapability(effectiveCapabilities, 40));
  assert.ok(!hasCapability(effectiveCapabilities, 41));
});

Deno.test("a user namespace is told from the machine by its map", () => {
  assert.ok(isInitialUserNamespace("         0          0 4294967295\n"));
  assert.ok(!isInitialUserNamespace("         0       1000          1\n"));
  assert.ok(!isInitialUserNamespace("0 0 1\n1 100000 65536\n"));
  assert.ok(!isInitialUserNamespace(""));
});

Deno.test("kernel releases compare as numbers", () => {
  assert.ok(kernelAtLeast("6.18.44-fc", 6, 12));
  assert.ok(kernelAtLeast("6.12.0", 6, 12));
  assert.ok(kernelAtLeast("10.0", 6, 12));
  assert.ok(!kernelAtLeast("6.2.0", 6, 12));
  assert.ok(!kernelAtLeast("5.19", 6, 1));
  assert.ok(!kernelAtLeast("", 1, 0));
});

Deno.test("the ignored signals of a process are read by number", () => {
  assert.deepEqual(parseIgnoredSignals("Name:\tx\nSigIgn:\t8000000000001001\nSigCgt:\t7\n"), [1, 13, 64]);
  assert.deepEqual(parseIgnoredSignals("SigIgn:\t0000000000000000\n"), []);
  assert.equal(parseIgnoredSignals("Name:\tx\n"), null);
});
