/** Costs of the plug itself. Each iteration repeats its operation, so that one takes longer than the clock's step. */
import { deferCallFor } from "../core/batching.ts";
import { plug, plugCall, plugged, unplug } from "../core/plug.ts";

const OPS_PER_ITERATION = 1000;
const REQUESTS_PER_SECTION = 32;

const queue = { submitCount: 0 };
const submit = (target: { submitCount: number }): void => void target.submitCount++;
const dispatchCall = deferCallFor("dispatch");

Deno.bench("1000 × plugCall outside any section", { group: "call", baseline: true }, () => {
  for (let i = 0; i < OPS_PER_ITERATION; i++) plugCall(submit, queue);
});

Deno.bench("1000 × plugCall of a repeat in a section", { group: "call" }, () => {
  plug();
  for (let i = 0; i < OPS_PER_ITERATION; i++) plugCall(submit, queue);
  unplug();
});

Deno.bench("1000 × dispatch of a repeat", { group: "call" }, () => {
  for (let i = 0; i < OPS_PER_ITERATION; i++) dispatchCall(submit, queue);
});

Deno.bench("1000 × empty section", { group: "section", baseline: true }, () => {
  for (let i = 0; i < OPS_PER_ITERATION; i++) {
    plug();
    unplug();
  }
});

Deno.bench("1000 × section of 32 repeats, plug() and unplug()", { group: "section" }, () => {
  for (let i = 0; i < OPS_PER_ITERATION; i++) {
    plug();
    for (let request = 0; request < REQUESTS_PER_SECTION; request++) plugCall(submit, queue);
    unplug();
  }
});

Deno.bench("1000 × section of 32 repeats, using", { group: "section" }, () => {
  for (let i = 0; i < OPS_PER_ITERATION; i++) {
    using _batch = plug();
    for (let request = 0; request < REQUESTS_PER_SECTION; request++) plugCall(submit, queue);
  }
});

const queueRequests = (): void => {
  for (let request = 0; request < REQUESTS_PER_SECTION; request++) plugCall(submit, queue);
};

Deno.bench("1000 × section of 32 repeats, plugged()", { group: "section" }, () => {
  for (let i = 0; i < OPS_PER_ITERATION; i++) plugged(queueRequests);
});
