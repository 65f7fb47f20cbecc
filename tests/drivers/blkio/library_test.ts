/** What the user is told of a libblkio that is missing, too old, or in another state than a property wants. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { setProperty } from "../../../drivers/blkio/properties.ts";
import { Blkio } from "../../../ffi/libblkio/mod.ts";
import { runCli, TempFolder } from "../../cli/support.ts";
import { commandWorks } from "../../support/forbid_uring.ts";
import { hasLibblkio } from "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";

const HAS_COMPILER = await commandWorks("cc", ["--version"]) || "there is no C compiler";

/** What `randread` prints of a file of zeroes, with another library in libblkio's place. */
async function refusalWith(library: string, folder: TempFolder): Promise<string> {
  const target = `blkio:io_uring:${folder.file("disk", 65_536)}`;
  const { code, stderr } = await runCli(["randread", target, "--runtime=100ms"], { PLUGIO_LIBBLKIO: library });
  assert.equal(code, 1, stderr);
  const [line = "", advice = "", ...rest] = stderr.trimEnd().split("\n");
  assert.match(advice, /^Run `deno run -P cli\.ts probe`/);
  assert.deepEqual(rest, []);
  return line;
}

Deno.test("a missing libblkio is one line that names the package and the variable", async () => {
  using folder = new TempFolder();
  const line = await refusalWith("/no/such.so", folder);
  assert.match(line, /^Cannot load libblkio: .*\/no\/such\.so/);
  assert.match(line, /libblkio1.*PLUGIO_LIBBLKIO=PATH/);
});

testWhen(HAS_COMPILER, "a libblkio before 1.3 is refused by its age, before a disk is touched", async () => {
  using folder = new TempFolder();
  const library = `${folder.path}/libblkio.so.1`;
  const source = fileURLToPath(new URL("./old_libblkio.c", import.meta.url));
  const { success, stderr } = await new Deno.Command("cc", { args: ["-shared", "-fPIC", "-o", library, source] })
    .output();
  assert.ok(success, new TextDecoder().decode(stderr));
  const line = await refusalWith(library, folder);
  assert.match(
    line,
    /it is older than 1\.3; wanted the package libblkio1 of Debian 13 or later, or PLUGIO_LIBBLKIO=PATH/,
  );
});

testWhen(hasLibblkio(), "a property that is set in the wrong state is refused with both states", () => {
  using instance = new Blkio("io_uring");
  const refusal = (name: string, value: string): string => {
    let message = "";
    assert.throws(() => setProperty(instance, name, value), (error: Error & { kind?: string }) => {
      assert.equal(error.kind, "unsupported");
      message = error.message;
      return true;
    });
    return message;
  };
  assert.match(refusal("num-entries", "64"), /num-entries to 64 .*it is created; wanted state connected$/);
  setProperty(instance, "path", fileURLToPath(import.meta.url));
  setProperty(instance, "read-only", "true");
  instance.connect();
  assert.match(refusal("read-only", "false"), /it is connected; wanted state created$/);
  setProperty(instance, "num-entries", "64");
  instance.start();
  assert.match(refusal("num-entries", "32"), /it is started; wanted state connected$/);
});
