/** How libraries are looked for, and what a user is told who lacks one. */
import assert from "node:assert/strict";
import { StorageError } from "../../core/base/errors.ts";
import { type LibrarySpec, loadLibrary } from "../../ffi/loader.ts";
import { runChild } from "../support/child.ts";
import "../support/libraries.ts";

const MISSING: LibrarySpec = {
  name: "libnowhere",
  sonames: ["libnowhere.so.9", "libnowhere.so.8"],
  overrideVariable: "PLUGIO_LIBNOWHERE",
  packages: { debian: "libnowhere9", fedora: "nowhere-libs", arch: "nowhere" },
};

const LIBC = { ...MISSING, name: "libc", sonames: ["libc.so.6"], overrideVariable: "PLUGIO_TEST_LIBC" };

/** Sets a variable while `action` runs. */
function withVariable<T>(name: string, value: string, action: () => T): T {
  Deno.env.set(name, value);
  try {
    return action();
  } finally {
    Deno.env.delete(name);
  }
}

function loadError(spec: LibrarySpec): StorageError {
  try {
    loadLibrary(spec, { nothing: { parameters: [], result: "void" } });
  } catch (error) {
    assert.ok(error instanceof StorageError);
    assert.equal(error.kind, "library");
    return error;
  }
  assert.fail("a library that does not exist was loaded");
}

Deno.test("a missing library is told with every name tried and its cause, the packages and the override", () => {
  const { message, op, target } = loadError(MISSING);
  assert.deepEqual([op, target], ["load", "libnowhere"]);
  for (const soname of MISSING.sonames) {
    assert.match(message, new RegExp(`${soname} \\([^)]*(cannot open|No such file)[^)]*\\)`));
  }
  for (
    const part of ["libnowhere9 (Debian, Ubuntu)", "nowhere-libs (Fedora)", "nowhere (Arch)", "PLUGIO_LIBNOWHERE=PATH"]
  ) {
    assert.ok(message.includes(part), `${message} lacks ${part}`);
  }
  assert.ok(!message.includes("\n"));
});

Deno.test("the override variable wins and is alone: nothing else is tried", () => {
  const { message } = withVariable("PLUGIO_LIBNOWHERE", "/nowhere/else.so", () => loadError(MISSING));
  assert.match(message, /tried \/nowhere\/else\.so \(/);
  assert.ok(!message.includes("libnowhere.so.9"));
});

Deno.test("an empty override variable is none", () => {
  const { message } = withVariable("PLUGIO_LIBNOWHERE", "", () => loadError(MISSING));
  assert.ok(message.includes("libnowhere.so.9"));
});

Deno.test("a library without the symbol that is wanted is refused and the symbol named", () => {
  assert.throws(
    () => loadLibrary(LIBC, { no_such_call_of_libc: { parameters: [], result: "void" } }),
    (error) => error instanceof StorageError && error.kind === "library" && /no_such_call_of_libc/.test(error.message),
  );
});

Deno.test("without permission to read the folder of the set-up, the flag is named; with it, or beside an override, not", async () => {
  const { stdout, stderr } = await runChild(new URL("./children/unreadable.ts", import.meta.url));
  assert.equal(stderr, "");
  const [readable, unreadable, overridden] = JSON.parse(stdout);
  assert.match(readable, /PLUGIO_LIBNOWHERE=PATH$/);
  assert.match(unreadable, /PLUGIO_LIBNOWHERE=PATH, or --allow-read=\/\S+\/\.native\/lib\/ if the set-up/);
  assert.doesNotMatch(overridden, /allow-read/);
});

Deno.test("a driver whose library is overridden by a wrong path rejects with kind library, in a process of its own", async () => {
  const child = new URL("./children/load.ts", import.meta.url);
  const { code, stdout } = await runChild(child, { env: { PLUGIO_LIBURING: "/nowhere/liburing.so" } });
  assert.equal(code, 0);
  const answer = JSON.parse(stdout);
  assert.equal(answer.kind, "library");
  assert.match(answer.message, /\/nowhere\/liburing\.so .*PLUGIO_LIBURING=PATH/);
});

Deno.test("importing the module opens no library", async () => {
  const child = new URL("./children/import_only.ts", import.meta.url);
  const { code, stdout, stderr } = await runChild(child, {
    env: { PLUGIO_LIBURING: "/nowhere", PLUGIO_LIBC: "/nowhere" },
  });
  assert.deepEqual({ code, stderr, stdout }, { code: 0, stderr: "", stdout: "function\n" });
});

Deno.test("libraries stay when the Worker that opened them ends: other threads may still return to them", async () => {
  const child = new URL("./children/pinned.ts", import.meta.url);
  const { code, stdout, stderr } = await runChild(child);
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "liburing libaio libblkio", stderr: "" });
});
