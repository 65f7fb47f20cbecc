/** Reads without end, 64 at once, until it is terminated. */
/// <reference lib="deno.worker" />
import { openDevice } from "../../../mod.ts";

self.onmessage = async ({ data }: MessageEvent<{ path: string; direct: boolean; driver?: string }>) => {
  const device = await openDevice(data.path, { direct: data.direct, driver: data.driver ?? "io_uring" });
  const blocks = Math.floor(device.size / 4096);
  const buffers = device.allocate(64, 4096);
  let completions = 0;
  for (const [index, buffer] of buffers.entries()) {
    const request = device.createRequest({
      op: "read",
      buffer,
      onComplete: (done) => {
        completions++;
        done.offset = (completions * 7919 % blocks) * 4096;
        device.submit(done);
      },
    });
    request.offset = index * 4096;
    device.submit(request);
  }
  self.postMessage("running");
};
