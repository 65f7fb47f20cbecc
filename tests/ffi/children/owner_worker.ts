/** A Worker that takes descriptors and a mapping, gives some of it back, tells what it has and waits to be terminated. */
import { closeFile, newEventFd } from "../../../ffi/libc/mod.ts";
import { AlignedMemory } from "../../../ffi/memory.ts";

const closed = [newEventFd(), newEventFd()];
const released = new AlignedMemory(4096);
const mapped = new AlignedMemory(64 * 1024, { shared: true });
mapped.words[0] = 1;
for (const fd of closed) closeFile(fd, "eventfd");
released[Symbol.dispose]();

(self as unknown as { postMessage(message: unknown): void }).postMessage({
  closed,
  open: mapped.fd,
  mappedAt: Deno.UnsafePointer.value(mapped.pointer).toString(16),
});
