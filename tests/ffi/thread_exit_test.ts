/** The end of a Worker's thread: what it held is given back, and nothing that it had given back itself. */
import assert from "node:assert/strict";
import { isEventFd, sharesOpenFile } from "../../ffi/libc/descriptor.ts";
import { closeFile, duplicateFile, LIBC_CONSTANTS as C, newEventFd, openFile, readLink } from "../../ffi/libc/mod.ts";
import { exitCode } from "../../ffi/exit_code.ts";
import { readSystemFile } from "../../ffi/sysfs.ts";
import { TempDir } from "../support/temp_file.ts";

const WORKER = new URL("./children/owner_worker.ts", import.meta.url);

/** Looks at what the thread has given back, and milliseconds between them. */
const LOOKS = 500;
const LOOK_MS = 10;

interface Owned {
  readonly closed: number[];
  readonly open: number;
  readonly mappedAt: string;
}

/** By its name as well: something else may be mapped at the same place later. */
const isOpen = (fd: number) => readLink(`/proc/self/fd/${fd}`)?.startsWith("/memfd:plugio") === true;
const isMapped = (address: string) =>
  (readSystemFile("/proc/self/maps") ?? "").split("\n").some((line) =>
    line.startsWith(`${address}-`) && line.includes("/memfd:plugio")
  );

Deno.test("a descriptor that a Worker closed itself, and that has another owner by now, stays open at its end", async () => {
  const worker = new Worker(WORKER, { type: "module" });
  const owned = await new Promise<Owned>((resolve) => worker.onmessage = ({ data }) => resolve(data));
  // The lowest free numbers are given out first: those that the Worker has just closed are among them.
  const ours = Array.from({ length: 64 }, () => newEventFd());
  try {
    assert.ok(owned.closed.every((fd) => ours.includes(fd)), `${owned.closed} of ${ours}`);
    assert.deepEqual([isOpen(owned.open), isMapped(owned.mappedAt)], [true, true]);
    worker.terminate();
    const isThere = () => isOpen(owned.open) || isMapped(owned.mappedAt);
    for (let look = 0; look < LOOKS && isThere(); look++) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    assert.deepEqual([isOpen(owned.open), isMapped(owned.mappedAt)], [false, false]);
    assert.ok(ours.every(isEventFd), "what is ours is open");
  } finally {
    for (const fd of ours) closeFile(fd, "eventfd");
  }
});

Deno.test("the code of a thread's end is whole for this processor", () => {
  const code = exitCode();
  assert.ok(code !== null && code.every((byte) => byte >= 0 && byte <= 255));
  assert.equal(code.length, Deno.build.arch === "aarch64" ? 0x48 : 0x41);
});

Deno.test("two descriptors share an open file or not, whatever their numbers and positions are", () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", 4096);
  const fds = [openFile(path, C.O_RDONLY.value), openFile(path, C.O_RDONLY.value)] as const;
  const copy = duplicateFile(fds[0], path);
  try {
    assert.equal(sharesOpenFile(fds[0], copy), true);
    assert.equal(sharesOpenFile(fds[0], fds[1]), false);
    assert.equal(sharesOpenFile(fds[1], copy), false);
    assert.equal(sharesOpenFile(fds[0], -1), false);
  } finally {
    for (const fd of [...fds, copy]) closeFile(fd, path);
  }
});
