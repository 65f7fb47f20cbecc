/** Random loads on a random kernel, through the linux_aio driver. */
import { Errno } from "../../../core/base/errno.ts";
import { checkQueueProperty } from "../../support/queue_property.ts";
import { OP, Rig } from "./queue_rig.ts";

for (const noRing of [false, true]) {
  const how = noRing ? "by io_getevents" : "from the ring";
  Deno.test(`property: whatever the kernel does, each request completes once and right, with completions ${how}`, async () => {
    await checkQueueProperty({
      // A ring that is hardly longer than what is in flight: it wraps often.
      open: (_sqEntries, maxInflight) => new Rig({ capacity: maxInflight, ringEntries: maxInflight + 60, noRing }),
      pending: (rig) =>
        rig.port.pending.map((iocb) => ({
          slot: iocb.slot,
          isRead: iocb.opcode === OP.read,
          offset: iocb.offset,
          byteLength: iocb.byteLength,
          address: iocb.address,
          complete: (result) => rig.port.complete(iocb, result),
        })),
      // EBUSY of io_submit is the answer for one request, not a refusal.
      script: (rig, answers) =>
        void (rig.port.script = answers.map((answer) => answer === -Errno.EBUSY ? -Errno.EAGAIN : answer)),
      post: (rig, slot, generation, result) => rig.port.post(slot, generation, result),
    }, 300);
  });
}
