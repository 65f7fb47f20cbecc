/** Targets: URLs of files, and names that would drive a terminal. */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { StorageError } from "../../core/base/errors.ts";
import { Errno } from "../../core/base/errno.ts";
import { explainSetupFailure, setupRemedy } from "../../drivers/io_uring/explain.ts";
import { printable } from "../../core/base/shown.ts";
import { inspectTarget, pathOfTarget } from "../../drivers/probe.ts";
import { openDevice } from "../../mod.ts";
import { TempDir } from "../support/temp_file.ts";

Deno.test("a file: URL is the file that it leads to, whatever its name", async () => {
  using dir = new TempDir();
  for (const name of ["plain", "with space #and ?marks", "Grüße", "50%", "memory:x"]) {
    const path = dir.file(name, 4096);
    const url = pathToFileURL(path);
    assert.equal(pathOfTarget(url), path);
    assert.equal(inspectTarget(url).sizeBytes, 4096);
    await using device = await openDevice(url, { readOnly: true });
    assert.deepEqual([device.size, device.target], [4096, path]);
  }
});

Deno.test("a URL that leads to no file of this machine is a TypeError that says what is wanted", async () => {
  const wrong: [string, RegExp][] = [
    ["https://example.com/x", /^Cannot open https:.*: wanted a file: URL$/],
    ["file://server/x", /: wanted a file: URL of this machine$/],
    ["file:///x?y", /: wanted a file: URL without \? and #$/],
    ["file:///x#y", /: wanted a file: URL without \? and #$/],
    ["file:///a%2Fb", /: wanted a file: URL without %2F/],
    ["file:///%ff", /: wanted escapes that are UTF-8$/],
  ];
  for (const [url, message] of wrong) {
    await assert.rejects(openDevice(new URL(url)), { name: "TypeError", message });
    assert.throws(() => inspectTarget(new URL(url)), { name: "TypeError" });
  }
  await assert.rejects(openDevice(new URL("file:///a%00b")), /TypeError: .*NUL/);
});

Deno.test("control characters of a name are escaped in messages, and kept in the field", async () => {
  const path = "/missing/\x1b]0;title\x07\n\u202e\x9b";
  const error = await openDevice(path).then(() => null, (error) => error as StorageError);
  assert.ok(error instanceof StorageError);
  assert.equal(error.target, path);
  assert.ok(error.message.startsWith(String.raw`Cannot open /missing/\x1b]0;title\x07\n\u{202e}\x9b: ENOENT`));
  const refused = openDevice("memory:\x1b[2J", { driver: "io_uring" });
  await assert.rejects(refused, (error: Error) => error.message.includes(String.raw`memory:\x1b[2J`));
  await assert.rejects(openDevice("memory:\x1b[2J"), (error: Error) => error.message.includes(String.raw`"\x1b[2J"`));
  await assert.rejects(openDevice("x", { driver: "\x1b[2J" }), /Cannot use driver "\\x1b\[2J"/);
  assert.equal(printable("tab\tand 数据 🧪 \ud800"), String.raw`tab\tand 数据 🧪 \u{d800}`);
});

Deno.test("a set-up of io_uring that fails says what its errno means, and a newer Linux is wanted for EINVAL alone", () => {
  assert.match(setupRemedy(Errno.EINVAL), /wanted Linux 5\.11 or later$/);
  for (const errno of [Errno.EAGAIN, Errno.EINTR, Errno.EIO, Errno.ENOBUFS]) {
    assert.doesNotMatch(setupRemedy(errno), /Linux 5/);
    assert.match(setupRemedy(errno), /; wanted /);
  }
  const fail = (errno: number) => new StorageError({ kind: "library", op: "set up", target: "io_uring", errno });
  const kinds = [Errno.EAGAIN, Errno.EINTR, Errno.ENFILE, Errno.EMFILE, Errno.ENOMEM, Errno.EIO, Errno.EPERM]
    .map((errno) => (explainSetupFailure(fail(errno), 4096) as StorageError).kind);
  assert.deepEqual(kinds, ["resource", "resource", "resource", "resource", "resource", "unsupported", "unsupported"]);
});
