/**
 * Compiles the C helper of the NVMe driver into `.native/lib`: `deno task build:nvme`. Does nothing when the library of
 * these sources is there already.
 *
 * @module
 */
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { NATIVE_FLAGS, NATIVE_SOURCES, nativeFileName, type NativeName, nativeSource } from "../ffi/native.ts";
import { say } from "./say.ts";

/** Where the loader looks first. */
const NATIVE_DIR = fileURLToPath(new URL("../.native", import.meta.url));

/** What came of a build. */
type BuildOutcome = { readonly path: string } | { readonly failure: string };

/** Builds `name` into `nativeDir/lib` with the system's cc, or with the one that set-up unpacked there. */
export async function buildNative(name: NativeName, nativeDir: string = NATIVE_DIR): Promise<BuildOutcome> {
  const file = nativeFileName(name);
  if (file === null) return { failure: `Cannot build ${name}: its sources cannot be read, wanted a clone of plugio` };
  const libDir = join(nativeDir, "lib");
  const path = join(libDir, file);
  if (exists(path)) return { path };
  Deno.mkdirSync(libDir, { recursive: true });
  // Under a name of its own, then renamed: two builds at once do not see half a file of each other.
  const unfinished = `${path}.${crypto.randomUUID()}`;
  const source = fileURLToPath(nativeSource(name, NATIVE_SOURCES[name][0]));
  const searchPath = [join(nativeDir, "bin"), Deno.env.get("PATH") ?? ""].join(delimiter);
  try {
    const command = new Deno.Command("cc", {
      args: [...NATIVE_FLAGS, "-o", unfinished, source],
      env: { PATH: searchPath },
      stdin: "null",
    });
    const { success, stderr } = await command.output();
    if (!success) return { failure: `Cannot build ${name}: cc failed\n${new TextDecoder().decode(stderr).trim()}` };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return {
      failure: `Cannot build ${name}: there is no C compiler (cc); wanted the packages gcc libc6-dev ` +
        "(Debian, Ubuntu), gcc glibc-devel (Fedora) or gcc glibc (Arch)",
    };
  }
  Deno.renameSync(unfinished, path);
  return { path };
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const outcome = await buildNative("vfio_nvme");
  say("failure" in outcome ? outcome.failure : `built ${outcome.path}`);
  Deno.exit("failure" in outcome ? 1 : 0);
}
