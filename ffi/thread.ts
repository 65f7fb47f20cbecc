import { libc } from "./libc/mod.ts";

/**
 * Calls a native function of one pointer on a thread that ends with it; false where there is no such thread. No caller is
 * told when. Unlike a nonblocking call it is no operation of the runtime: it holds no process open, and a test that it
 * begins or ends in is not charged for it.
 */
export function startThread(run: Deno.PointerObject, argument: Deno.PointerValue): boolean {
  const { pthread_create, pthread_detach } = libc();
  if (pthread_create === null || pthread_detach === null) return false;
  const thread = new BigUint64Array(1);
  if (pthread_create(new Uint8Array(thread.buffer), null, run, argument) !== 0) return false;
  pthread_detach(thread[0]!);
  return true;
}
