import { closeFile } from "../../ffi/libc/mod.ts";
import { hasHungUp, peerPath } from "../../ffi/libc/descriptor.ts";
import { duplicateFile } from "../../ffi/libc/mod.ts";
import { listSystemFolder } from "../../ffi/sysfs.ts";

/** Whether the other end is still there. */
export interface Link {
  /** True when the other end has closed the connection, or died. Does not wait. */
  hasHungUp(): boolean;
}

/**
 * Our own descriptor of the socket that libblkio has connected. libblkio does not notice when a vhost-user server dies:
 * its requests would be in flight for ever. The socket tells, but libblkio hands it out nowhere, so it is looked for.
 */
export class ServerLink implements Link, Disposable {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** The descriptor, which becomes readable when the other end is gone. */
  get fd(): number {
    return this.#fd;
  }

  /** Runs `connect` and finds the socket to `path` that it opened; null where this process may not look. */
  static around(path: string, connect: () => void): ServerLink | null {
    const before = socketsTo(path);
    connect();
    const fd = socketsTo(path).find((each) => !before.includes(each));
    return fd === undefined ? null : new ServerLink(duplicateFile(fd, path));
  }

  hasHungUp(): boolean {
    return hasHungUp(this.#fd);
  }

  /** Closes the descriptor. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    closeFile(fd, "socket");
  }
}

function socketsTo(path: string): number[] {
  return listSystemFolder("/proc/self/fd").map(Number).filter((fd) => peerPath(fd) === path);
}
