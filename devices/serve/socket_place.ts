import { shown } from "../../core/base/shown.ts";
import { checkText } from "../../core/system/target_path.ts";
import { passedListener } from "../../ffi/passed_listener.ts";
import { listenAt, type Listener } from "../../ffi/unix_socket.ts";
import type { CheckedServeOptions } from "./options.ts";

type Access = Pick<CheckedServeOptions, "socketMode" | "socketGroup">;

/** Checks where a server is to listen. An abstract name, which begins with `@` in most programs, would be taken for a file. */
export function checkSocket(socket: unknown, { socketMode, socketGroup }: Access): void {
  if (typeof socket === "number") {
    if (!Number.isInteger(socket) || socket < 0) {
      throw new RangeError(`Cannot serve at descriptor ${socket}: wanted an integer from 0`);
    }
    if (socketMode === null && socketGroup === null) return;
    throw new RangeError(`Cannot set mode or group of descriptor ${socket}: wanted who made the socket to set them`);
  }
  checkText(socket, "serve at", "the path of a socket");
  if (!(socket as string).startsWith("@")) return;
  throw new RangeError(`Cannot serve at ${shown(socket)}: abstract sockets are not served, wanted a path`);
}

/** The socket for messages. */
export function nameOfSocket(socket: string | number): string {
  return typeof socket === "number" ? `descriptor ${socket}` : socket;
}

/** Listens at a path, or at a socket that was passed. */
export function listenerOf(socket: string | number, { socketMode, socketGroup }: Access): Listener {
  return typeof socket === "number"
    ? passedListener(socket)
    : listenAt(socket, { mode: socketMode, group: socketGroup });
}
