/** SCSI disks in a Linux guest: libiscsi's conformance suite, and each command's answer beside that of QEMU's disk. */
import assert from "node:assert/strict";
import { join } from "node:path";
import "../support/libraries.ts";
import { startTalkingAdapter } from "../support/serve_process.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { type GuestDevice, guestReady, runGuest, scriptCommand, shellWords } from "./mod.ts";
import { BLOCK_BYTES, namedCommands, randomCommands, type ScsiAnswer } from "./scsi_commands.ts";
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

/** Lines of shell that find both disks by who has made them. */
const DEVICES = `
until [ -e /dev/sg0 ] && [ -e /dev/sg1 ]; do sleep 0.1; done
device() { for at in /sys/class/scsi_generic/sg*; do grep -q "$1" $at/device/vendor && echo /dev/\${at##*/}; done; }
ours=$(device PLUGIO) theirs=$(device QEMU)
`;

/** Random commands behind those with names. */
const RANDOM_COMMANDS = 2_000;

/** Where the two disks differ, by the name of the command, and why. */
const DIFFERENCES: Readonly<Record<string, readonly string[]>> = {
  "ours claims SPC-4 and SBC-3, under its own name, and the same length whatever is asked for": [
    ...["4", "36", "96", "255"].map((alloc) => `INQUIRY alloc ${alloc}`),
    "INQUIRY page 83",
  ],
  "ours has a page 86": ["INQUIRY page 0", "INQUIRY page 86"],
  "other limits, a granularity for writes, and zeroes for what was given back": [
    "INQUIRY page b0",
    "INQUIRY page b0 alloc 8",
    "INQUIRY page b2",
    "READ CAPACITY(16)",
  ],
  "no well-known unit is listed where only those are asked for": ["REPORT LUNS select 1 alloc 256"],
  "ours takes DPO and FUA, and has a control page, but none of a disk's geometry": [
    ...["6", "10"].flatMap((form) =>
      ["current", "changeable", "default"].map((kind) => `MODE SENSE(${form}) caching page, ${kind}`)
    ),
    ...["", ", alloc 4", " without descriptor"].map((how) => `MODE SENSE(6) all pages${how}`),
    ...["", ", long LBA"].map((how) => `MODE SENSE(10) all pages${how}`),
    "MODE SENSE(6) error recovery page",
    "MODE SENSE(6) control page",
  ],
  "QEMU does not have the command, or not this form of it": [
    "REPORT SUPPORTED OPERATION CODES",
    "REPORT TARGET PORT GROUPS",
    "SYNCHRONIZE CACHE(16)",
    "PRE-FETCH(10)",
  ],
  "QEMU says that it is done, and does nothing": ["FORMAT UNIT"],
  "QEMU does not check what it is told not to compare": ["VERIFY(10) beyond the end", "VERIFY(10) with VRPROTECT"],
  "QEMU does not look at the control byte": ["READ(10) with NACA"],
  "QEMU writes all of a buffer, also what the command did not ask for": ["then block 311, which was not meant"],
  "QEMU answers an unknown command with data as an error of the host": ["COMPARE AND WRITE"],
};

/**
 * What two answers have to have in common: status and sense data, and the data of one that was good, as far as both have
 * sent it. QEMU fills buffers to their end, with zeroes or with what it had there.
 */
function comparable({ status, hostStatus, sense, data }: ScsiAnswer, digits: number): unknown {
  return status === 0 && hostStatus === 0 ? data.slice(0, digits) : { status, hostStatus, sense };
}

testWhen(
  READY,
  "our disk answers each command as QEMU's does, byte by byte, but for a list of differences",
  async () => {
    using dir = new TempDir();
    const [ours, theirs] = [dir.sparse("ours.img", SUITE_BYTES), dir.sparse("theirs.img", SUITE_BYTES)];
    const socket = join(dir.path, "adapter.sock");
    const lastLba = SUITE_BYTES / BLOCK_BYTES - 1;
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    const server = await startTalkingAdapter(socket, [`0=${ours},serial=suite`]);
    try {
      const words = [lastLba, seed, RANDOM_COMMANDS].map(String);
      const script = scriptCommand("tests/guest/inside/sg_io.ts", ...words, "/answers.json");
      const { stdout, stderr, files } = await runGuest({
        command: ["sh", "-c", `${DEVICES}\n${shellWords(script)} $ours $theirs`],
        devices: [
          { kind: "vhost-user-scsi", socket },
          { kind: "virtio-scsi", disks: [{ image: theirs, serial: "suite" }] },
        ],
        collect: ["/answers.json"],
      });
      const json = files.get("/answers.json");
      assert.ok(json !== undefined, stdout + stderr);
      const [mine, yours] = JSON.parse(new TextDecoder().decode(json)) as [ScsiAnswer[], ScsiAnswer[]];
      const commands = [...namedCommands(lastLba), ...randomCommands(lastLba, RANDOM_COMMANDS, seed)];
      assert.equal(mine.length, commands.length);
      const differing = commands.filter((_, index) => {
        const digits = Math.min(mine[index]!.data.length, yours[index]!.data.length);
        const [one, other] = [mine[index]!, yours[index]!].map((answer) => comparable(answer, digits));
        return JSON.stringify(one) !== JSON.stringify(other);
      });
      const names = new Set(differing.map(({ name }) => name.trim()));
      assert.deepEqual([...names].sort(), Object.values(DIFFERENCES).flat().sort(), `seed ${seed}`);
      assert.deepEqual(Deno.readFileSync(ours), Deno.readFileSync(theirs), `the images differ; seed ${seed}`);
    } finally {
      await server.kill();
    }
  },
);

/** Runs the suite over both adapters at once, each on a processor of its own. */
const SUITES = `
${DEVICES}
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
