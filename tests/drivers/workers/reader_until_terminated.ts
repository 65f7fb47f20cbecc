/** Opens a target and reads: once, or for ever, until this Worker is terminated; serves it too, if told so. */
import { serveVhostUserBlk } from "../../../devices/serve/mod.ts";
import { type DeviceOptions, openDevice } from "../../../mod.ts";

/** What the Worker is told. */
export interface ReaderTask {
  readonly target: string;
  readonly options: DeviceOptions;
  /** Reads in flight when the Worker says that it is ready; 0 reads once and has none. */
  readonly depth: number;
  /** Serves the target at a socket beside it as well, and waits for a front end. */
  readonly served: boolean;
}

const worker = self as unknown as {
  onmessage: ((event: MessageEvent<ReaderTask>) => void) | null;
  postMessage(message: unknown): void;
};

worker.onmessage = async ({ data: { target, options, depth, served } }) => {
  const disk = await openDevice(target, { ...options, readOnly: true });
  const buffers = disk.allocate(Math.max(1, depth), 65_536);
  await disk.read(buffers[0]!, 0);
  // A foreign buffer as well: it passes through the bounce pool.
  await disk.read(new Uint8Array(4096), 0);
  // And a queue that no device uses any more, which is kept for a while.
  const brief = await openDevice(target, { ...options, readOnly: true, queueDepth: 5 });
  await brief.close();
  for (const [index, buffer] of buffers.entries()) {
    if (index < depth) readForEver(() => disk.read(buffer, (index % 4) * 65_536));
  }
  if (served) await serveVhostUserBlk(disk, `${target}.${crypto.randomUUID()}`);
  worker.postMessage("ready");
};

function readForEver(read: () => Promise<number>): void {
  void read().then(() => setTimeout(() => readForEver(read)));
  void read().then(() => readForEver(read));
}
