/** SCSI disks in a Linux guest: libiscsi's conformance suite. */
import assert from "node:assert/strict";
import "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { type GuestDevice, guestReady, runGuest } from "./mod.ts";
import { complaints, namesOf, readSuite, skips, suiteScript, type SuiteTest } from "./scsi_suite.ts";
import { QEMU_FAILURES, QEMU_SKIPPED, SUITE_TESTS } from "./scsi_suite_expected.ts";

const READY = guestReady();
const MIB = 1 << 20;
const SUITE_BYTES = 64 * MIB;

/** Sorted, so that the order of neither side counts. */
function byReason(lists: Readonly<Record<string, readonly string[]>>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(lists).map(([reason, names]) => [reason, [...names].sort()]));
}

function expectSuite(
  tests: readonly SuiteTest[],
  failures: readonly string[],
  skipped: Readonly<Record<string, readonly string[]>>,
): void {
  assert.equal(tests.length, SUITE_TESTS);
  assert.deepEqual(namesOf(tests, "unfinished"), []);
  assert.deepEqual(namesOf(tests, "failed"), [...failures].sort(), complaints(tests));
  assert.deepEqual(byReason(skips(tests)), byReason(skipped));
}

testWhen(
  READY,
  "the conformance suite says of QEMU's own disk what it always said: the suite itself works",
  async () => {
    using dir = new TempDir();
    const image = dir.sparse("disk.img", SUITE_BYTES);
    const devices: GuestDevice[] = [{ kind: "virtio-scsi", disks: [{ image, serial: "suite" }] }];
    const { stdout, stderr, files } = await runGuest({
      command: ["sh", "-c", `until [ -e /dev/sg0 ]; do sleep 0.1; done\n${suiteScript("/dev/sg0", "/suite.log")}`],
      programs: ["iscsi-test-cu"],
      project: false,
      devices,
      collect: ["/suite.log"],
    });
    const log = files.get("/suite.log");
    assert.ok(log !== undefined, stdout + stderr);
    expectSuite(readSuite(new TextDecoder().decode(log)), Object.values(QEMU_FAILURES).flat(), QEMU_SKIPPED);
  },
);
