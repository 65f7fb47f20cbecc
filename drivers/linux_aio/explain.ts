import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { parseInteger } from "../../core/system/sysfs_text.ts";
import { readSystemFile } from "../../ffi/sysfs.ts";

/** What the whole machine may have of AIO: requests that contexts were made for, and the most there may be. */
interface AioNumbers {
  /** `fs.aio-nr`, or null where the kernel does not tell. */
  readonly used: number | null;
  /** `fs.aio-max-nr`, or null. */
  readonly max: number | null;
}

/** Reads both numbers. */
export function aioNumbers(): AioNumbers {
  const read = (name: string) => parseInteger(readSystemFile(`/proc/sys/fs/${name}`)?.trim() ?? null);
  return { used: read("aio-nr"), max: read("aio-max-nr") };
}

/**
 * Adds to a failed io_setup(2) what its errno means, and what to do; other errors stay as they are. `entries` is the
 * number of requests that the context was to be made for.
 */
export function explainSetupFailure(error: unknown, entries: number, numbers: AioNumbers = aioNumbers()): unknown {
  if (!(error instanceof StorageError) || error.target !== "linux_aio") return error;
  const { kind, op, target, errno } = error;
  const detail = setupRemedy(errno, entries, numbers);
  return new StorageError({ kind, op, target, errno, detail, cause: error });
}

/** One sentence on an errno of io_setup(2): the likely cause and the remedy. */
export function setupRemedy(errno: number, entries: number, numbers: AioNumbers): string {
  switch (errno) {
    case Errno.EAGAIN:
      return `${entries} more requests do not fit: fs.aio-nr is ${numbers.used ?? "unknown"} of fs.aio-max-nr ` +
        `${numbers.max ?? "unknown"}; wanted sysctl fs.aio-max-nr=${roomFor(entries, numbers)} or more, a smaller ` +
        "queueDepth, or fewer Workers";
    case Errno.ENOSYS:
      return "this kernel was built without CONFIG_AIO, or a sandbox hides it; wanted another driver";
    case Errno.EPERM:
    case Errno.EACCES:
      return "forbidden by a seccomp filter or a security module; wanted a profile that allows io_setup, or another " +
        "driver";
    case Errno.ENOMEM:
      return "not enough memory for the ring of completions; wanted a smaller queueDepth";
    case Errno.EINVAL:
      return "the kernel does not know a part of what is asked; wanted Linux 4.18 or later, or another driver";
    case Errno.EINTR:
      return "a signal came in between; wanted another attempt";
    default:
      return "the kernel gives no other reason; wanted what its log says (dmesg), or another driver";
  }
}

/** A limit that has room for `entries` more: a power of two, as the kernel's own. */
function roomFor(entries: number, { used, max }: AioNumbers): number {
  const needed = Math.max((used ?? 0) + entries, (max ?? 0) + 1);
  return 2 ** Math.ceil(Math.log2(needed));
}
