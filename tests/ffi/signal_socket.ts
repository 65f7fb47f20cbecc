/** Sends what io_uring's linked SEND sends. */
import { libc } from "../../ffi/libc/mod.ts";

const BYTE = new Uint8Array([1]);

/** Writes one byte to a socket. */
export function signalSocket(fd: number): void {
  libc().write(fd, BYTE, 1n);
}
