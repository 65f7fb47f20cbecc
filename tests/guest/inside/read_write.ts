/**
 * Runs in the guest: overwrites disks through mod.ts in plugged sections, reads them back, and says what it took.
 *
 *     deno run -P read_write.ts TARGET...
 *
 * @module
 */
import { openDevice, plugged } from "../../../mod.ts";
import { pattern } from "../../support/temp_file.ts";

const BLOCK_BYTES = 4096;
const BATCH = 32;

for (const target of Deno.args) {
  await using disk = await openDevice(target, { direct: true });
  const buffers = disk.allocate(BATCH, BLOCK_BYTES);
  const at = (index: number) => index * BLOCK_BYTES;
  const writes = plugged(() =>
    buffers.map((buffer, index) => {
      buffer.set(pattern(at(index), BLOCK_BYTES));
      return disk.write(buffer, at(index));
    })
  );
  await Promise.all(writes);
  await disk.flush();
  for (const buffer of buffers) buffer.fill(0);
  await Promise.all(plugged(() => buffers.map((buffer, index) => disk.read(buffer, at(index)))));
  const wrong = buffers.findIndex((buffer, index) => {
    const wanted = pattern(at(index), BLOCK_BYTES);
    return buffer.some((byte, offset) => byte !== wanted[offset]);
  });
  const { submits, requests } = disk.stats;
  // deno-lint-ignore no-console -- the answer to the host
  console.log(JSON.stringify({ target, size: disk.size, blockSize: disk.blockSize, wrong, submits, requests }));
}
