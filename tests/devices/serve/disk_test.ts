/** What a served disk says of itself: its serial number to the guest, changes of its size to the log. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { defaultSerial } from "../../../devices/serve/serial.ts";
import { openDevice } from "../../../mod.ts";
import { idRequest } from "../../support/blk_requests.ts";
import { TempDir } from "../../support/temp_file.ts";
import { SharedGuest } from "../../support/vhost_client.ts";
import { connect, ServedRig } from "../vhost_user/rig.ts";

Deno.test("a disk has a serial number of its own, the same whatever it is opened by", async () => {
  using dir = new TempDir();
  const serialOf = async (path: string, driver = "io_uring") => {
    await using device = await openDevice(path, { driver });
    return defaultSerial(device);
  };
  const image = dir.file("image", 4096);
  const other = dir.file("other", 4096);
  Deno.symlinkSync(image, join(dir.path, "link"));
  const serial = await serialOf(image);
  assert.match(serial, /^plugio-[0-9a-z]{13}$/);
  assert.equal(await serialOf(join(dir.path, "link")), serial);
  assert.equal(await serialOf(join(dir.path, ".", "..", dir.path.split("/").at(-1)!, "image")), serial);
  assert.equal(await serialOf(image, "linux_aio"), serial);
  assert.notEqual(await serialOf(other), serial);
  assert.notEqual(await serialOf("1MiB", "memory"), await serialOf("2MiB", "memory"));
});

Deno.test("the guest is told the serial of the disk, or the one that was chosen", async () => {
  for (const options of [{}, { serial: "chosen" }]) {
    await using rig = await ServedRig.start(options);
    using shared = new SharedGuest();
    const { client, queue } = await connect(rig, shared);
    using _client = client;
    const request = idRequest(shared.guest);
    assert.equal((await client.run(queue, request)).status, 0);
    const said = new TextDecoder().decode(shared.guest.at(request.data, 20)).replace(/\0+$/, "");
    assert.equal(said, options.serial ?? defaultSerial(rig.device));
  }
});

Deno.test("a file that is truncated or grows is told of once for each change", async () => {
  await using rig = await ServedRig.start({ bytes: 1 << 20 });
  const sizes = () => rig.lines.filter((line) => /the disk has/.test(line));
  Deno.truncateSync(rig.file, 1 << 18);
  await rig.server.checkSize();
  await rig.server.checkSize();
  assert.deepEqual(sizes(), ["the disk has shrunk from 1MiB (1048576 bytes) to 256KiB (262144 bytes)"]);
  Deno.truncateSync(rig.file, 1 << 21);
  await rig.server.checkSize();
  assert.equal(sizes()[1], "the disk has grown from 256KiB (262144 bytes) to 2MiB (2097152 bytes)");
  assert.equal(sizes().length, 2);
});
