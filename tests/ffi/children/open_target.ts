/**
 * Opens the target that the argument names, and prints the flags that the kernel has for it.
 *
 * @module
 */
import { readSystemFile } from "../../../ffi/sysfs.ts";
import { FileTarget } from "../../../ffi/target.ts";

/** The flags with which `path` is opened to be read. */
export function openedWith(path: string): number {
  const target = FileTarget.open(path, { readOnly: true });
  try {
    const info = readSystemFile(`/proc/self/fdinfo/${target.fd}`) ?? "";
    return parseInt(/^flags:\s*(\d+)$/m.exec(info)![1]!, 8);
  } finally {
    target.close();
  }
}

if (import.meta.main) Deno.stdout.writeSync(new TextEncoder().encode(`${openedWith(Deno.args[0]!)}\n`));
