/** The cover letter's experiment from a guest in short, and its document against the results that are kept. */
import assert from "node:assert/strict";
import "../support/libraries.ts";
import { replaceTables } from "../../bench/letter.ts";
import { testWhen } from "../support/skip.ts";
import { letterGuestTable, type LetterRun, runLetter } from "./letter.ts";
import { LETTER_DOCUMENT, LETTER_MARK, LETTER_RESULTS, readLetterRuns } from "./letter_results.ts";
import { guestReady } from "./mod.ts";

const READS = 640;

testWhen(guestReady(), "a guest's reads are a submit each without the plug, and few with it", async () => {
  const [none, plug, atOnce] = await runLetter({
    disks: [
      { driver: "io_uring", batch: "none", deferNotify: true },
      { driver: "io_uring", batch: "plug", deferNotify: true },
      { driver: "io_uring", batch: "plug", deferNotify: false },
    ],
    loads: [{ depth: 32, atOnce: 32 }],
    rounds: 1,
    reads: READS,
  }) as [LetterRun, LetterRun, LetterRun];
  for (const { requests, iops } of [none, plug, atOnce]) {
    // The guest's kernel joins neighbours now and then.
    assert.ok(requests > READS * 0.9 && requests <= READS && iops > 0, `${requests} requests, ${iops} IOPS`);
  }
  assert.equal(none.submits, none.requests);
  for (const { submits, passes, requests } of [plug, atOnce]) {
    assert.ok(submits <= passes && submits * 8 < requests, `${requests}: ${passes} passes, ${submits} submits`);
  }
  for (const { notifications } of [plug, atOnce]) assert.ok(notifications > 0 && notifications * 8 < READS);
});

Deno.test("docs/letter.md has the table of the results from the guest that are kept", () => {
  const text = Deno.readTextFileSync(LETTER_DOCUMENT);
  const words = (markdown: string) => markdown.replaceAll(/[ -]+/g, " ").replaceAll(/:\s|\s:/g, " ");
  const wanted = replaceTables(text, letterGuestTable(readLetterRuns(LETTER_RESULTS)), LETTER_MARK);
  assert.equal(words(text), words(wanted));
});
