/** Random loads on a random kernel, through the io_uring driver. */
import { checkQueueProperty } from "../../support/queue_property.ts";
import { OP, Rig } from "./queue_rig.ts";

Deno.test("property: whatever the kernel does, each request completes once, with the right bytes, and nothing is left", async () => {
  await checkQueueProperty({
    open: (sqEntries, maxInflight) => new Rig({ sqEntries, maxInflight, cqEntries: 128 }),
    pending: (rig) =>
      rig.ring.pending.map((sqe) => ({
        slot: sqe.slot,
        isRead: sqe.opcode === OP.read,
        offset: sqe.offset,
        byteLength: sqe.length,
        address: sqe.address,
        complete: (result) => rig.ring.complete(sqe, result),
      })),
    script: (rig, answers) => void (rig.ring.script = answers),
    post: (rig, slot, generation, result) => rig.ring.post(slot, generation, result),
  }, 400);
});
