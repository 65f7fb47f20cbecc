/**
 * Keeps reads of a controller in flight, without an end. As a program it waits for its standard input, says "running"
 * and waits to be killed.
 */
import { openDevice } from "../../../../mod.ts";

/** Opens namespace 1 and reads until the thread ends; calls `started` after the first round. */
export async function hammer(address: string, started: () => void): Promise<void> {
  const disk = await openDevice(`nvme:${address}/1`);
  const buffers = disk.allocate(64, 4096);
  for (let round = 0;; round++) {
    await Promise.all(buffers.map((buffer, index) => disk.read(buffer, index * 4096)));
    if (round === 0) started();
  }
}

if (import.meta.main) {
  Deno.stdin.readSync(new Uint8Array(1));
  await hammer(
    Deno.env.get("PLUGIO_TEST_ADDRESS")!,
    () => void Deno.stdout.writeSync(new TextEncoder().encode("running\n")),
  );
}
