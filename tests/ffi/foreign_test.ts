/** Waking and being woken through descriptors whose owner may do anything with them. */
import assert from "node:assert/strict";
import { ForeignSignal } from "../../ffi/foreign_signal.ts";
import { watchForeign } from "../../ffi/foreign_watch.ts";
import { KernelSignals } from "../../ffi/kernel_signals.ts";
import { closeFile, libc, listFolder, newEventFd, newSocketPair, openFile, signalEventFd } from "../../ffi/libc/mod.ts";
import { LIBC_CONSTANTS as C } from "../../ffi/libc/layout.ts";
import { newSharedFile } from "../../ffi/shared_memory.ts";
import "../support/libraries.ts";
import { TempDir } from "../support/temp_file.ts";
import { until } from "../devices/vhost_user/rig.ts";

const MOST = 0xffff_ffff_ffff_fffen;

/** Takes what an eventfd has counted; it must have counted something. */
function counted(fd: number): bigint {
  const count = new BigUint64Array(1);
  assert.equal(libc().read(fd, new Uint8Array(count.buffer), 8n), 8n);
  return count[0]!;
}

function isReadable(fd: number): boolean {
  const entry = new Uint8Array(8);
  const view = new DataView(entry.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, C.POLLIN.value, true);
  return libc().poll(entry, 1n, 0) === 1;
}

function descriptors(): number {
  return listFolder("/proc/self/fd", 65_536).length;
}

Deno.test("this kernel signals eventfds for us", () => {
  assert.notEqual(KernelSignals.ofThread(), null);
});

for (const way of ["kernel", "thread"] as const) {
  const kernel = () => way === "kernel" ? KernelSignals.ofThread() : null;

  Deno.test(`a signal adds 1, and one that is full and would block is not waited for (${way})`, async () => {
    const fd = newEventFd({ nonblocking: false });
    {
      using signal = new ForeignSignal(fd, "test", kernel());
      signal.signal();
      await until(() => isReadable(fd), "it is signalled");
      assert.equal(counted(fd), 1n);
      libc().write(fd, new Uint8Array(new BigUint64Array([MOST]).buffer), 8n);
      for (let time = 0; time < 100; time++) signal.signal();
      assert.ok(counted(fd) >= MOST);
      signal.signal();
      await until(() => isReadable(fd), "it is signalled again");
    }
    // A thread that still writes finds room.
    for (let time = 0; time < 100; time++) {
      if (isReadable(fd)) counted(fd);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    closeFile(fd, "test");
  });

  Deno.test(`a watch tells of each signal, reads nothing, and leaves nothing behind (${way})`, async () => {
    const warm = watchForeign(newEventFd(), () => {}, kernel());
    warm[Symbol.dispose]();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = descriptors();
    for (let turn = 0; turn < 40; turn++) {
      const fds = [newEventFd({ nonblocking: false }), newEventFd({ nonblocking: false })];
      const calls = [0, 0];
      const watches = fds.map((fd, index) => watchForeign(fd, () => void calls[index]!++, kernel()));
      for (let time = 1; time <= 3; time++) {
        signalEventFd(fds[1]!);
        await until(() => calls[1] === time, "it is called");
      }
      assert.deepEqual(calls, [0, 3]);
      assert.equal(counted(fds[1]!), 3n);
      for (const each of watches) each[Symbol.dispose]();
      for (const fd of fds) closeFile(fd, "test");
    }
    await until(() => descriptors() === before, "all descriptors are closed");
  });
}

Deno.test("a callback may end its own watch and those of others", async () => {
  const fds = [newEventFd(), newEventFd()];
  let calls = 0;
  const end = () => {
    calls++;
    for (const each of watches) each[Symbol.dispose]();
  };
  const watches = fds.map((fd) => watchForeign(fd, end));
  for (const fd of fds) signalEventFd(fd);
  await until(() => calls > 0, "it is called");
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(calls, 1);
  for (const fd of fds) closeFile(fd, "test");
});

Deno.test("a pipe is signalled by 8 bytes; one that is full, or has lost its reader, stops no queue", () => {
  using dir = new TempDir();
  const path = `${dir.path}/pipe`;
  assert.ok(new Deno.Command("mkfifo", { args: [path] }).outputSync().success);
  const reader = openFile(path, C.O_RDONLY.value | C.O_NONBLOCK.value);
  const writer = openFile(path, C.O_WRONLY.value);
  using signal = new ForeignSignal(writer, "test");
  signal.signal();
  const bytes = new Uint8Array(16);
  assert.equal(libc().read(reader, bytes, 16n), 8n);
  assert.deepEqual([...bytes.subarray(0, 8)], [1, 0, 0, 0, 0, 0, 0, 0]);
  for (let time = 0; time < 10_000; time++) signal.signal();
  closeFile(reader, "reader");
  signal.signal();
  closeFile(writer, "writer");
  signal.signal();
});

for (const end of ["read", "gone"] as const) {
  Deno.test(`a socket is signalled by 8 bytes; one that is full stops no queue, nor does one whose other end is ${end}`, () => {
    const [left, right] = newSocketPair();
    const flags = libc().fcntl(left, C.F_GETFL.value, 0n);
    libc().fcntl(left, C.F_SETFL.value, BigInt(flags & ~C.O_NONBLOCK.value));
    using signal = new ForeignSignal(left, "test");
    signal.signal();
    const bytes = new Uint8Array(16);
    assert.equal(libc().read(right, bytes, 16n), 8n);
    assert.deepEqual([...bytes.subarray(0, 8)], [1, 0, 0, 0, 0, 0, 0, 0]);
    for (let time = 0; time < 2_000; time++) signal.signal();
    if (end === "gone") closeFile(right, "test");
    for (let time = 0; time < 2_000; time++) signal.signal();
    if (end === "read") closeFile(right, "test");
    closeFile(left, "test");
  });
}

Deno.test("what is neither eventfd nor pipe nor socket is not taken: it may block, end the process, or keep what is written", () => {
  using dir = new TempDir();
  const append = openFile(dir.file("log", 10), C.O_WRONLY.value | 0o2000);
  const device = openFile("/dev/null", C.O_RDWR.value);
  const memory = newSharedFile("test", 4096);
  for (const fd of [append, device, memory]) {
    assert.equal(ForeignSignal.takes(fd), false);
    assert.throws(() => new ForeignSignal(fd, "test"), /Cannot signal test: .*wanted an eventfd, a pipe or a socket/);
  }
  for (const fd of [append, device, memory]) closeFile(fd, "test");
});
