/** Sockets that wait for clients at a path: who may wait, and what stands at the path afterwards. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { closeFile } from "../../ffi/libc/mod.ts";
import { acceptClient, connectTo, listenAt, MAX_WAITING_CLIENTS } from "../../ffi/unix_socket.ts";
import { TempDir } from "../support/temp_file.ts";

Deno.test("a socket is removed with its listener, unless another process has put something at the path meanwhile", () => {
  using dir = new TempDir();
  const path = join(dir.path, "s");
  listenAt(path).close();
  assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
  const first = listenAt(path);
  Deno.removeSync(path);
  const second = listenAt(path);
  first.close();
  closeFile(connectTo(path), "client");
  assert.equal(second.replacedStale, false);
  Deno.removeSync(path);
  Deno.writeTextFileSync(path, "kept");
  second.close();
  assert.equal(Deno.readTextFileSync(path), "kept");
});

Deno.test("clients wait in order for their turn, those that have left again as well, and one too many is refused", () => {
  using dir = new TempDir();
  const path = join(dir.path, "s");
  const listener = listenAt(path);
  const gone = connectTo(path);
  closeFile(gone, "client");
  const clients = Array.from({ length: MAX_WAITING_CLIENTS }, () => connectTo(path));
  assert.throws(() => connectTo(path), /EAGAIN/);
  for (let count = 0; count <= MAX_WAITING_CLIENTS; count++) closeFile(acceptClient(listener.fd)!, "client");
  assert.equal(acceptClient(listener.fd), null);
  for (const fd of clients) closeFile(fd, "client");
  listener.close();
});
