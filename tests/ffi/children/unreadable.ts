/** Loads a library that does not exist, with and without permission to read, and prints what is said. */
import { loadLibrary } from "../../../ffi/loader.ts";

const spec = {
  name: "libnowhere",
  sonames: ["libnowhere.so.9"],
  overrideVariable: "PLUGIO_LIBNOWHERE",
  packages: { debian: "libnowhere9", fedora: "nowhere-libs", arch: "nowhere" },
};

function complaint(): string {
  try {
    loadLibrary(spec, {});
    return "loaded";
  } catch (error) {
    return (error as Error).message;
  }
}

const messages = [complaint()];
Deno.permissions.revokeSync({ name: "read" });
messages.push(complaint());
Deno.env.set("PLUGIO_LIBNOWHERE", "/nowhere/libnowhere.so.9");
messages.push(complaint());
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(messages)));
