/** Uses memory whose buffer was transferred away before its owner let go of it: a crash if it had been unmapped. */
import { AlignedMemory } from "../../../ffi/memory.ts";

const memory = new AlignedMemory(1 << 20);
memory.bytes.fill(42);
const moved = new Uint8Array(structuredClone(memory.bytes.buffer, { transfer: [memory.bytes.buffer] }));
memory[Symbol.dispose]();
memory[Symbol.dispose]();
// Mapped since: would lie where the old memory was, had that been unmapped.
const next = new AlignedMemory(1 << 20);
next.bytes.fill(1);
const found = moved[moved.length - 1];
moved.fill(43);
if (next.bytes.some((byte) => byte !== 1)) throw new Error("The memory was handed out twice");
Deno.stdout.writeSync(new TextEncoder().encode(`${found} ${moved[12345]}\n`));
