import { Errno, errnoName } from "../../core/base/errno.ts";
import { idleQueues } from "../../core/queue/idle_queues.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { formatSize } from "../../core/base/units.ts";
import { lockedMemoryLimit } from "../../ffi/libc/mod.ts";
import type { RingPort } from "../../ffi/liburing/mod.ts";

/** Registers `memory` with `ring`; returns what the user should know where the kernel refuses, else null. */
export function registerMemory(ring: RingPort, memory: OwnedMemory): string | null {
  let index = ring.addBuffer(memory);
  // What idle queues have registered counts against the same limit.
  if (index === -Errno.ENOMEM && idleQueues.end()) index = ring.addBuffer(memory);
  if (index >= 0) {
    memory.registeredIndex = index;
    memory.registeredWith = ring;
    return null;
  }
  if (index === -Errno.EOPNOTSUPP) return null;
  if (index !== -Errno.ENOMEM) return `Buffers are not registered (${errnoName(-index)}): used by address instead`;
  const { soft } = lockedMemoryLimit();
  const limit = soft === Infinity ? "unlimited" : formatSize(soft);
  const size = formatSize(memory.byteLength);
  return `${size} of buffers are not registered: need ${size} of locked memory, limit ${limit}; used by address instead`;
}

/** Takes `memory` out of the table of `ring`; harmless where it is not in there. */
export function unregisterMemory(ring: RingPort, memory: OwnedMemory): void {
  if (memory.registeredWith !== ring) return;
  const index = memory.registeredIndex;
  memory.registeredIndex = -1;
  memory.registeredWith = null;
  ring.removeBuffer(index);
}
