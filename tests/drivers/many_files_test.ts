/** What it costs to have many files open, and to open them one after the other. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type BlockDevice, openDevice } from "../../mod.ts";
import "../support/libraries.ts";
import { TempDir } from "../support/temp_file.ts";

const FILES = 64;
const FILE_BYTES = 4096;

/** Makes files of which each has bytes of its own. */
function makeFiles(dir: TempDir): string[] {
  return Array.from({ length: FILES }, (_, index) => {
    const path = join(dir.path, `${index}`);
    Deno.writeFileSync(path, new Uint8Array(FILE_BYTES).fill(index + 1));
    return path;
  });
}

for (const driver of ["io_uring", "linux_aio"]) {
  Deno.test(`${driver}: files that are open cost no megabytes each once they were read into memory of the caller's`, async () => {
    using dir = new TempDir();
    const paths = makeFiles(dir);
    const devices: BlockDevice[] = [];
    const before = Deno.memoryUsage().rss;
    for (const [index, path] of paths.entries()) {
      const device = await openDevice(path, { driver, readOnly: true });
      devices.push(device);
      const buffer = new Uint8Array(FILE_BYTES);
      assert.equal(await device.read(buffer, 0), FILE_BYTES);
      assert.ok(buffer.every((byte) => byte === index + 1));
    }
    const grown = Deno.memoryUsage().rss - before;
    for (const device of devices) await device.close();
    assert.ok(grown < FILES * 2 ** 20, `${grown} bytes for ${FILES} files`);
  });
}
