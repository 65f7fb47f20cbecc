/**
 * Closes a device in the middle of a slow read: `undrained.ts DRIVER SLOW_DISK OTHER_FILE alone|shared`, as the only
 * user of its queue, or beside another.
 */
import assert from "node:assert/strict";
import { closeIdleQueues, openDevice } from "../../../mod.ts";
import { listFolder, readLink } from "../../../ffi/libc/mod.ts";
import { readSystemFile } from "../../../ffi/sysfs.ts";

const [driver, slowPath, otherPath, company] = Deno.args as [string, string, string, "alone" | "shared"];

/** What this process has open, by the links of /proc. */
const openFiles = () => listFolder("/proc/self/fd", 10_000).map((fd) => readLink(`/proc/self/fd/${fd}`));

/** Rings of io_uring and contexts of Linux AIO that this process has. */
function kernelQueues(): number {
  const rings = openFiles().filter((path) => path === "anon_inode:[io_uring]");
  const contexts = readSystemFile("/proc/self/maps")?.match(/\/\[aio\]/g) ?? [];
  return rings.length + contexts.length;
}

const isOpen = (path: string) => openFiles().includes(path);

const slow = await openDevice(slowPath, { driver, direct: true });
const other = await openDevice(otherPath, { driver, direct: true });
const [buffer] = slow.allocate(1, 4096);
const [page] = other.allocate(1, 4096);
buffer!.fill(0xee);
const queuesBefore = kernelQueues();
assert.ok(queuesBefore > 0);

let isBack = false;
if (company === "alone") await other.close();
const read = slow.read(buffer!, 0).finally(() => isBack = true);
await assert.rejects(slow.close({ drainMs: 20 }), { kind: "undrained", op: "close" });
assert.equal(isBack, false, "the disk was too fast for this test");
assert.equal(kernelQueues(), queuesBefore, "the queue is gone while the kernel has I/O of it");
assert.ok(isOpen(slowPath), "the file is closed while the kernel reads it");
assert.deepEqual([buffer!.length, buffer![0]], [4096, 0xee], "the memory is gone while the kernel may write to it");

// Who shared the queue goes on with it; who comes gets another.
if (company === "shared") assert.equal(await other.read(page!, 0), 4096);
const late = await openDevice(otherPath, { driver, direct: true });
assert.equal(kernelQueues(), queuesBefore + 1);
await late.close();
await other.close();
await closeIdleQueues();
assert.equal(isBack, false, "the disk was too fast for this test");
assert.equal(kernelQueues(), queuesBefore, "the end of the queues of others took this one down");

assert.equal(await read, 4096, "the read comes back after all");
assert.ok(buffer!.every((byte) => byte === 0), "and has reached its memory");
Deno.stdout.writeSync(new TextEncoder().encode("left alone\n"));
Deno.exit(0);
