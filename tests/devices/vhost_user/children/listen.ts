/** Listens at a path and dies without a chance to tidy up. */
import { listenAt } from "../../../../ffi/unix_socket.ts";

listenAt(Deno.args[0]!);
Deno.kill(Deno.pid, "SIGKILL");
