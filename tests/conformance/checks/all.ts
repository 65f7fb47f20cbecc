/**
 * Every check of the suite.
 *
 * @module
 */
import type { Check } from "../configuration.ts";
import { BATCHES } from "./batches.ts";
import { CONTENTS } from "./contents.ts";
import { ENDS } from "./ends.ts";
import { LIFETIMES } from "./lifetimes.ts";
import { MISTAKES } from "./mistakes.ts";
import { REQUESTS } from "./requests.ts";
import { SLEEPING } from "./sleeping.ts";
import { STREAMS } from "./streams.ts";

/** All checks, by idea. */
export const ALL_CHECKS: readonly Check[] = [
  ...CONTENTS,
  ...STREAMS,
  ...ENDS,
  ...BATCHES,
  ...REQUESTS,
  ...SLEEPING,
  ...LIFETIMES,
  ...MISTAKES,
];
