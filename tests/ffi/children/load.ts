/** Opens a device and prints why that failed. */
import { openDevice, StorageError } from "../../../mod.ts";

const path = Deno.makeTempFileSync();
try {
  await openDevice(path);
} catch (error) {
  if (!(error instanceof StorageError)) throw error;
  const { kind, message } = error;
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify({ kind, message })));
} finally {
  Deno.removeSync(path);
}
