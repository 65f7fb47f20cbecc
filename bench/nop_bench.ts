/** What the way through the queue costs when the kernel has nothing to do: 1000 NOPs an iteration. */
import { BenchFile, CallbackLoop, context, inLanes, OPERATIONS, register, registerAsync } from "./support.ts";

context();

const DEPTHS = [1, 32];

using file = new BenchFile(4096);
const blocking = await file.open({ wait: "block" });
const eventDriven = await file.open({ wait: "event" });

for (const depth of DEPTHS) {
  const group = `NOP at depth ${depth}`;
  const loop = new CallbackLoop(blocking, depth, (onComplete) => blocking.createRequest({ op: "nop", onComplete }));

  register(`1000 × callback API, run(), depth ${depth}`, { group, baseline: true }, () => loop.run(OPERATIONS));

  registerAsync(
    `1000 × promise API, wait block, depth ${depth}`,
    { group },
    () => inLanes(depth, OPERATIONS, () => blocking.nop()),
  );

  registerAsync(
    `1000 × promise API, wait event, depth ${depth}`,
    { group },
    () => inLanes(depth, OPERATIONS, () => eventDriven.nop()),
  );
}
