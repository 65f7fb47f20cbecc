import { closeFile } from "../../ffi/libc/mod.ts";
import { connectTo } from "../../ffi/unix_socket.ts";

/** Whether a server listens at `path`: its socket is there a moment before. */
export function listens(path: string): boolean {
  try {
    closeFile(connectTo(path), "client");
    return true;
  } catch {
    return false;
  }
}
