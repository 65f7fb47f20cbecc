import { StorageError } from "../../core/base/errors.ts";
import { resolveHost, type SocketAddress } from "../../ffi/stream_socket.ts";
import { unixAddress } from "../../ffi/unix_socket.ts";
import type { NbdAddress } from "./address.ts";

/** Where the server of an address can be reached. Rejects with StorageError of kind `open`. */
export async function addressesOf({ place }: NbdAddress): Promise<SocketAddress[]> {
  return place.kind === "unix" ? [unixAddress(place.path)] : await resolveHost(place.host, place.port);
}

/** Throws a StorageError for an address that asks for TLS: a plain connection must never stand in for it. */
export function refuseTls(target: string, { tls }: NbdAddress): void {
  if (!tls) return;
  const detail =
    "TLS is not spoken; wanted nbd: or nbd+unix:, or a tunnel in front, such as that of the package stunnel4";
  throw new StorageError({ kind: "unsupported", op: "open", target, detail });
}
