/** The conformance suite's log, read without a guest. */
import assert from "node:assert/strict";
import { complaints, namesOf, readSuite, skips, suiteScript } from "./scsi_suite.ts";
import { QEMU_FAILURES, QEMU_SKIPPED, SUITE_TESTS } from "./scsi_suite_expected.ts";

const LOG = `family Read10
Suite: Read10
  Test: Simple ...passed
  Test: BeyondEol ...    [SKIPPED] LUN is too big
passed
  Test: DpoFua ...
    [FAILED] READ10 should have failed
    [FAILED] again
FAILED
  Test: Both ...
    [SKIPPED] a part
    [FAILED] another
FAILED
end of Read10: 1
family Unmap
Suite: Unmap
  Test: Simple ...
    [SKIPPED] one
    [SKIPPED] one
passed
  Test: Hangs ...
end of Unmap: 137
family Empty
    [SKIPPED] before any test
end of Empty: 139
family Verify10
  Test: Cut ...
`;

Deno.test("each test of the suite passed, was skipped, failed or did not finish, with the reasons that were given", () => {
  assert.deepEqual(readSuite(LOG.replaceAll("\n", "\r\n")), [
    { name: "Read10.Simple", outcome: "passed", reasons: [] },
    { name: "Read10.BeyondEol", outcome: "skipped", reasons: ["LUN is too big"] },
    { name: "Read10.DpoFua", outcome: "failed", reasons: ["READ10 should have failed", "again"] },
    { name: "Read10.Both", outcome: "failed", reasons: ["a part", "another"] },
    { name: "Unmap.Simple", outcome: "skipped", reasons: ["one", "one"] },
    { name: "Unmap.Hangs", outcome: "unfinished", reasons: [] },
    { name: "Verify10.Cut", outcome: "unfinished", reasons: [] },
  ]);
  assert.deepEqual(namesOf(readSuite(LOG), "failed"), ["Read10.Both", "Read10.DpoFua"]);
  assert.deepEqual(skips(readSuite(LOG)), { "LUN is too big": ["Read10.BeyondEol"], "one": ["Unmap.Simple"] });
  assert.equal(
    complaints(readSuite(LOG)),
    "Read10.DpoFua failed: READ10 should have failed\nRead10.Both failed: a part\n" +
      "Unmap.Hangs unfinished: no reason given\nVerify10.Cut unfinished: no reason given",
  );
});

Deno.test("a log without tests has none, and is not taken for one in which all passed", () => {
  for (const log of ["", "family Read10\nend of Read10: 127\n", "passed\nFAILED\n"]) {
    assert.deepEqual(readSuite(log), []);
  }
});

Deno.test("no test is expected twice, nor to be skipped and to fail", () => {
  const names = [...Object.values(QEMU_FAILURES).flat(), ...Object.values(QEMU_SKIPPED).flat()];
  assert.equal(new Set(names).size, names.length);
  assert.equal(names.length, SUITE_TESTS - 80);
});

Deno.test("the guest's shell takes the script, which keeps of a log what is read", () => {
  const script = suiteScript("/dev/sg0", "/tmp/log");
  const { success, stderr } = new Deno.Command("sh", { args: ["-n", "-c", script] }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
  const pattern = /^grep -E '(.*)' /m.exec(script)![1]!;
  const kept = LOG.split("\n").filter((line) => new RegExp(pattern.replaceAll("^  Test", "^ {2}Test")).test(line));
  assert.deepEqual(readSuite(kept.join("\n")), readSuite(LOG));
});
