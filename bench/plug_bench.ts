/** Costs of the plug itself. Each iteration repeats its operation, so that one takes longer than the clock's step. */
import { deferCallFor } from "../core/plug/batching.ts";
import { plug, plugCall, plugged, unplug } from "../core/plug/plug.ts";
import { context, OPERATIONS, register } from "./support.ts";

context();

const REQUESTS_PER_SECTION = 32;

const queue = { submitCount: 0 };
const submit = (target: { submitCount: number }): void => void target.submitCount++;
const dispatchCall = deferCallFor("dispatch");

register("1000 × plugCall outside any section", { group: "call", baseline: true }, () => {
  for (let i = 0; i < OPERATIONS; i++) plugCall(submit, queue);
});

register("1000 × plugCall of a repeat in a section", { group: "call" }, () => {
  plug();
  for (let i = 0; i < OPERATIONS; i++) plugCall(submit, queue);
  unplug();
});

register("1000 × dispatch of a repeat", { group: "call" }, () => {
  for (let i = 0; i < OPERATIONS; i++) dispatchCall(submit, queue);
});

register("1000 × empty section", { group: "section", baseline: true }, () => {
  for (let i = 0; i < OPERATIONS; i++) {
    plug();
    unplug();
  }
});

register("1000 × section of 32 repeats, plug() and unplug()", { group: "section" }, () => {
  for (let i = 0; i < OPERATIONS; i++) {
    plug();
    for (let request = 0; request < REQUESTS_PER_SECTION; request++) plugCall(submit, queue);
    unplug();
  }
});

register("1000 × section of 32 repeats, using", { group: "section" }, () => {
  for (let i = 0; i < OPERATIONS; i++) {
    using _batch = plug();
    for (let request = 0; request < REQUESTS_PER_SECTION; request++) plugCall(submit, queue);
  }
});

const queueRequests = (): void => {
  for (let request = 0; request < REQUESTS_PER_SECTION; request++) plugCall(submit, queue);
};

register("1000 × section of 32 repeats, plugged()", { group: "section" }, () => {
  for (let i = 0; i < OPERATIONS; i++) plugged(queueRequests);
});
