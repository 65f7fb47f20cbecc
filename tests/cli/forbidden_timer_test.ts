/** Where a sandbox forbids timers of the kernel, what they only make faster works all the same. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { buildLauncher, canForbidUring, TIMERFD } from "../support/forbid_uring.ts";
import { listens } from "../support/listens.ts";
import { testWhen } from "../support/skip.ts";
import { finished, runCli, spawnCli, TempFolder } from "./support.ts";

const hasCompiler = await canForbidUring();

for (const refusal of ["EPERM", "ENOSYS"] as const) {
  testWhen(hasCompiler, `every driver reads where timerfd_create fails with ${refusal}`, async () => {
    using folder = new TempFolder();
    const launcher = await buildLauncher(folder.path, refusal, TIMERFD);
    const file = folder.file("f", 1 << 20);
    const drivers = refusal === "EPERM" ? ["io_uring", "linux_aio", "blkio:io_uring"] : ["io_uring"];
    for (const driver of drivers) {
      const args = ["randread", `${driver}:${file}`, "--runtime=100ms", "--wait=event"];
      const { code, stdout, stderr } = await runCli(args, {}, [launcher]);
      assert.equal(stderr, "");
      assert.equal(code, 0);
      assert.match(stdout, /^read: /m);
    }
  });
}

testWhen(hasCompiler, "a disk is served where timers are forbidden", async () => {
  using folder = new TempFolder();
  const launcher = await buildLauncher(folder.path, "EPERM", TIMERFD);
  const socket = join(folder.path, "s");
  const file = folder.file("f", 1 << 20);
  const server = spawnCli(["serve", "vhost-user-blk", "--socket", socket, file], {}, [launcher]);
  const output = finished(server);
  for (let look = 0; look < 300 && !listens(socket); look++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { code, stderr } = await runCli(["read", `blkio:virtio-blk-vhost-user:${socket}`, "--number-ios=256"]);
  server.kill("SIGTERM");
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.equal((await output).code, 0);
});
