/** SCSI disks in a Linux guest: libiscsi's conformance suite. */
import assert from "node:assert/strict";
import { join } from "node:path";
import "../support/libraries.ts";
import { startTalkingAdapter } from "../support/serve_process.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { type GuestDevice, guestReady, runGuest } from "./mod.ts";
import { complaints, namesOf, readSuite, skips, suiteScript, type SuiteTest } from "./scsi_suite.ts";
import { OUR_SKIPPED, QEMU_FAILURES, QEMU_SKIPPED, SUITE_TESTS } from "./scsi_suite_expected.ts";

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

/** Runs the suite over both adapters at once, each on a processor of its own. */
const SUITES = `
until [ -e /dev/sg0 ] && [ -e /dev/sg1 ]; do sleep 0.1; done
device() { for at in /sys/class/scsi_generic/sg*; do grep -q "$1" $at/device/vendor && echo /dev/\${at##*/}; done; }
ours=$(device PLUGIO) theirs=$(device QEMU)
{${suiteScript("$ours", "/ours.log")}} &
{${suiteScript("$theirs", "/theirs.log")}}
wait
`;

testWhen(
  READY,
  "the conformance suite passes our disk but for what it does not have, and says of QEMU's what it always said",
  async () => {
    using dir = new TempDir();
    const [ours, theirs] = [dir.sparse("ours.img", SUITE_BYTES), dir.sparse("theirs.img", SUITE_BYTES)];
    const socket = join(dir.path, "adapter.sock");
    const server = await startTalkingAdapter(socket, [`0=${ours},serial=suite`]);
    try {
      const devices: GuestDevice[] = [
        { kind: "vhost-user-scsi", socket },
        { kind: "virtio-scsi", disks: [{ image: theirs, serial: "suite" }] },
      ];
      const { stdout, stderr, files } = await runGuest({
        command: ["sh", "-c", SUITES],
        programs: ["iscsi-test-cu"],
        project: false,
        devices,
        collect: ["/ours.log", "/theirs.log"],
      });
      const read = (path: string) => {
        const log = files.get(path);
        assert.ok(log !== undefined, stdout + stderr);
        return readSuite(new TextDecoder().decode(log));
      };
      expectSuite(read("/theirs.log"), Object.values(QEMU_FAILURES).flat(), QEMU_SKIPPED);
      expectSuite(read("/ours.log"), [], OUR_SKIPPED);
    } finally {
      await server.kill();
    }
  },
);
