/**
 * A scratch copy of the project's tools, for tests that have to break something.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EXCEPTIONS } from "../../tools/exceptions.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What a finished command of {@link Scratch.deno} left behind. */
export interface ScratchResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The files outside of tools/ that tools import. */
const IMPORTED: readonly string[] = ["ffi/native.ts", "core/base/loader_variables.ts"];
const SKIP = "tests/support/skip.ts";

/** A temporary folder with this project's deno.json, tools/ and skip helper; removed on dispose. */
export class Scratch implements Disposable {
  /** The folder. */
  readonly dir: string = Deno.makeTempDirSync({ prefix: "plugio-scratch-" });

  constructor() {
    // Without the lock file: nothing in a scratch needs a package, and fetching them takes the network.
    const { lock: _lock, ...config } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json")));
    this.write("deno.json", JSON.stringify(config));
    copy(join(ROOT, "tools"), join(this.dir, "tools"));
    for (const path of IMPORTED) this.write(path, Deno.readTextFileSync(join(ROOT, path)));
    // What the gate's list of exceptions names has to be there.
    for (const { file } of EXCEPTIONS) this.write(file, "export {};\n");
    // The other helpers of the tests need the rest of the project.
    this.write(SKIP, Deno.readTextFileSync(join(ROOT, SKIP)));
  }

  /** Writes one file, with its folders. */
  write(path: string, text: string, mode = 0o644): void {
    const at = join(this.dir, path);
    Deno.mkdirSync(dirname(at), { recursive: true });
    Deno.writeTextFileSync(at, text, { mode });
  }

  /** Runs this Deno in the folder, without standard input. */
  async deno(args: readonly string[], env: Record<string, string> = {}): Promise<ScratchResult> {
    const output = await new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd: this.dir,
      env: { NO_COLOR: "1", CI: "", ...env },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code: output.code, stdout: decoder.decode(output.stdout), stderr: decoder.decode(output.stderr) };
  }

  /** Removes the folder. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

function copy(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (isDirectory) copy(join(from, name), join(to, name));
    else Deno.copyFileSync(join(from, name), join(to, name));
  }
}
