/**
 * libiscsi's conformance suite for SCSI disks, iscsi-test-cu: how a guest runs it, and what it said, test by test.
 *
 * @module
 */

/** `unfinished` is a test in the middle of which its family was killed or ended. */
export type SuiteOutcome = "passed" | "skipped" | "failed" | "unfinished";

/** One test of the suite. */
export interface SuiteTest {
  /** Family and test: `Read10.Simple`. */
  readonly name: string;
  readonly outcome: SuiteOutcome;
  /** What the suite gave as reasons, as it said them. */
  readonly reasons: readonly string[];
}

/** A family that hangs costs no more than this. */
const FAMILY_SECONDS = 120;

/**
 * Lines of shell that run every family of the suite over `disk`, an sg device, and leave the log at `log`. One family a
 * process: what ends or hangs one of them costs the others nothing. All that is on the disk is overwritten.
 */
export function suiteScript(disk: string, log: string): string {
  return `
for family in $(iscsi-test-cu -l | sed -n 's/^SCSI\\.\\([^.]*\\)$/\\1/p'); do
  echo "family $family"
  busybox timeout -s KILL ${FAMILY_SECONDS} \\
    iscsi-test-cu --dataloss --verbose --Verbose-scsi --test="SCSI.$family" ${disk} 2>&1 </dev/null
  echo "end of $family: $?"
done >${log}.all
grep -E '^(family|end of) |^Suite: |^  Test: |\\[(SKIPPED|FAILED)\\]|(passed|FAILED)$' ${log}.all >${log}
rm ${log}.all
`;
}

/** Reads the log. A test is skipped when any part of it was, as long as none failed. */
export function readSuite(log: string): SuiteTest[] {
  const tests: SuiteTest[] = [];
  let family = "";
  let open: { readonly name: string; readonly reasons: string[] } | null = null;
  let verdict: SuiteOutcome = "unfinished";
  let skipped = false;
  const finish = () => {
    if (open !== null) tests.push({ ...open, outcome: verdict === "passed" && skipped ? "skipped" : verdict });
    open = null;
    verdict = "unfinished";
    skipped = false;
  };
  for (const line of log.replaceAll("\r", "").split("\n")) {
    const name = /^ {2}Test: (\S+) \.\.\./.exec(line)?.[1];
    if (name !== undefined || /^(family|end of) /.test(line)) finish();
    if (name !== undefined) open = { name: `${family}.${name}`, reasons: [] };
    family = /^family (\S+)/.exec(line)?.[1] ?? family;
    if (open === null) continue;
    const said = /\[(SKIPPED|FAILED)\] *(.*)/.exec(line);
    if (said !== null) {
      open.reasons.push(said[2]!.trim());
      skipped ||= said[1] === "SKIPPED";
    } else if (/(^|\.\.\.|[^a-zA-Z])passed$/.test(line)) verdict = "passed";
    else if (/(^|\.\.\.|[^a-zA-Z])FAILED$/.test(line)) verdict = "failed";
  }
  finish();
  return tests;
}

/** Names of the tests that came to `outcome`, in order. */
export function namesOf(tests: readonly SuiteTest[], outcome: SuiteOutcome): string[] {
  return tests.filter((test) => test.outcome === outcome).map(({ name }) => name).sort();
}

/** The names of those that were skipped, by the reasons that the suite gave: as `scsi_suite_expected.ts` has them. */
export function skips(tests: readonly SuiteTest[]): Record<string, string[]> {
  const skips: Record<string, string[]> = {};
  for (const { name, outcome, reasons } of tests) {
    if (outcome === "skipped") (skips[[...new Set(reasons)].join(" ")] ??= []).push(name);
  }
  return skips;
}

/** Those that failed or did not finish, each with what it said first. */
export function complaints(tests: readonly SuiteTest[]): string {
  const wrong = tests.filter(({ outcome }) => outcome === "failed" || outcome === "unfinished");
  return wrong.map(({ name, outcome, reasons }) => `${name} ${outcome}: ${reasons[0] ?? "no reason given"}`).join("\n");
}
