/** QEMU's own block layer as the front end: its blkio driver, which the next Debian's tools bring. */
import assert from "node:assert/strict";
import { nextProgram } from "../../guest/mod.ts";
import "../../support/libraries.ts";
import { ServedDisk } from "../../support/served_disk.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;

/** True where the tools are unpacked, else why not. */
function hasTools(): true | string {
  try {
    nextProgram("qemu-io");
    return true;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Runs a tool of the next release to its end; its output. Rejects where it fails. */
async function run(name: string, ...args: string[]): Promise<string> {
  const { command: [program, ...first], env } = nextProgram(name);
  const output = await new Deno.Command(program, { args: [...first, ...args], env, stdin: "null" }).output();
  const said = new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
  assert.equal(output.code, 0, said);
  return said;
}

const READY = hasTools();
const disk = (socket: string) => `driver=virtio-blk-vhost-user,path=${socket},cache.direct=on`;

testWhen(READY, "qemu-io writes zeroes and discards any length and any sectors", async () => {
  using dir = new TempDir();
  const image = dir.sparse("disk.img", 5 * 1024 * MIB);
  await using served = await ServedDisk.start(image, { direct: true });
  const commands = [
    "write -P 7 0 3M",
    "write -P 7 511M 2M",
    "write -z 512 512M",
    "read -P 7 0 512",
    "read -P 0 512 3145216",
    "read -P 0 511M 1049088",
    "read -P 7 536871424 1048064",
    "write -z -u 1536 77312",
    // The longest that the tool can name without a buffer, beyond what is offered, and what it can with one.
    "write -z -n 0 5G",
    "read -P 0 511M 2M",
    "write -P 9 300M 2M",
    "discard 301M 2147482624",
    "read -P 9 300M 1M",
    "flush",
  ];
  const said = await run("qemu-io", "--image-opts", disk(served.socket), ...commands.flatMap((each) => ["-c", each]));
  assert.doesNotMatch(said, /failed|rror|verification/);
  // Every command but the flush says how much it did.
  assert.equal([...said.matchAll(/^(?:wrote|read|discard) \d+\/\d+ bytes/gm)].length, commands.length - 1, said);
});

testWhen(READY, "qemu-img copies an image to the served disk and sees its size", async () => {
  using dir = new TempDir();
  const image = dir.sparse("disk.img", 8 * MIB);
  const source = dir.file("source.img", 3 * MIB + 512);
  await using served = await ServedDisk.start(image, { direct: true });
  assert.match(await run("qemu-img", "info", "--image-opts", disk(served.socket)), /\(8388608 bytes\)/);
  await run("qemu-img", "convert", "-n", "-f", "raw", "--target-image-opts", source, disk(served.socket));
  assert.deepEqual(Deno.readFileSync(image).slice(0, 3 * MIB + 512), pattern(0, 3 * MIB + 512));
});
