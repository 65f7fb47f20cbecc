/** Guests whose memory are huge pages, in regions that do not end where the pages do. */
import assert from "node:assert/strict";
import { readTextFile } from "../../../ffi/libc/mod.ts";
import { SharedMemory } from "../../../ffi/shared_memory.ts";
import { readRequest } from "../../support/blk_requests.ts";
import { hasHugePages, HUGE_PAGE_BYTES as HUGE, HugeFile } from "../../support/huge_pages.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern } from "../../support/temp_file.ts";
import { memoryTable, regionBytes, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { TestGuest, VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, ServedRig, until } from "./rig.ts";

/** Mappings of huge files in this process. */
function mappings(): number {
  return readTextFile("/proc/self/maps", 1 << 24).split("\n").filter((line) => line.includes("memfd:huge")).length;
}

for (const [fileOffset, byteLength] of [[0, HUGE + 4096], [4096, HUGE], [HUGE + 8192, 12_288], [0, 65_536]] as const) {
  testWhen(
    hasHugePages(),
    `a region of ${byteLength} bytes from byte ${fileOffset} of huge pages comes and goes`,
    async () => {
      await using rig = await ServedRig.start();
      using huge = new HugeFile(2);
      using memory = new SharedMemory({ fd: huge.fd, fileOffset, byteLength, name: "huge guest" });
      const before = mappings();
      for (const leaves of ["politely", "with another table"] as const) {
        using client = new VhostClient(rig.socket);
        await client.negotiate(FEATURES, ALL_PROTOCOL);
        const guest = new TestGuest(memory);
        for (let table = 0; table < 3; table++) {
          client.tell("SET_MEM_TABLE", memoryTable(regionBytes(guest, fileOffset)), [huge.fd]);
        }
        const queue = client.startQueue(new VirtioDriver(guest, 8));
        memory.bytes.subarray(0, 512).fill(0);
        assert.equal((await client.run(queue, readRequest(guest, 8, 512))).status, 0);
        assert.equal(mappings(), before + 1);
        if (leaves === "politely") continue;
        using other = new SharedGuest(1 << 16, 0x8000_0000, 0x7e00_0000_0000);
        client.setMemory(other);
        await rig.logged(/its rings are gone/);
      }
      await until(() => mappings() === before, "everything is unmapped");
      using shared = new SharedGuest();
      using client = new VhostClient(rig.socket);
      await client.negotiate(FEATURES, ALL_PROTOCOL);
      client.setMemory(shared);
      const read = readRequest(shared.guest, 2, 4096);
      assert.equal((await client.run(client.startQueue(new VirtioDriver(shared.guest, 8)), read)).status, 0);
      assert.deepEqual(shared.guest.at(read.data, 4096), pattern(1024, 4096));
    },
    { optionalInCi: true },
  );
}
