import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { formatSize } from "../../core/base/units.ts";
import { lockedMemoryLimit } from "../../ffi/libc/mod.ts";

/**
 * Adds to a failed set-up what the errno means for io_uring, and what to do; other errors stay as they are.
 * `ringBytes` is what the rings take of the limit of locked memory.
 */
export function explainSetupFailure(error: unknown, ringBytes: number): unknown {
  if (!(error instanceof StorageError) || error.target !== "io_uring") return error;
  const { soft } = lockedMemoryLimit();
  const limit = soft === Infinity ? "unlimited" : formatSize(soft);
  const numbers = error.errno === Errno.ENOMEM
    ? `; the rings need ${formatSize(ringBytes)}, the limit is ${limit}`
    : "";
  const detail = setupRemedy(error.errno) + numbers;
  return new StorageError({
    kind: SHORTAGES.includes(error.errno) ? "resource" : "unsupported",
    op: error.op,
    target: error.target,
    errno: error.errno,
    detail,
    cause: error,
  });
}

/** What passes, or goes with a limit: the kernel can do it. */
const SHORTAGES: readonly number[] = [Errno.ENOMEM, Errno.EMFILE, Errno.ENFILE, Errno.EAGAIN, Errno.EINTR];

/** One sentence on an errno of io_uring_setup(2): the likely cause and the remedy. */
export function setupRemedy(errno: number): string {
  switch (errno) {
    case Errno.EPERM:
      return "forbidden by kernel.io_uring_disabled or a seccomp filter; " +
        "wanted sysctl kernel.io_uring_disabled=0, a container profile that allows io_uring, or another driver";
    case Errno.ENOSYS:
      return "this kernel has no io_uring, or a sandbox hides it; wanted Linux 5.11 or later, or another driver";
    case Errno.EACCES:
      return "forbidden by a security module; wanted a policy that allows io_uring, or another driver";
    case Errno.ENOMEM:
      return "not enough locked memory for the rings; wanted a higher `ulimit -l` or a smaller queueDepth";
    case Errno.EMFILE:
    case Errno.ENFILE:
      return "no file descriptor is free; wanted a higher `ulimit -n`";
    case Errno.EINVAL:
      return "the kernel does not know a part of what is asked; wanted Linux 5.11 or later";
    case Errno.EAGAIN:
      return "the kernel is short of what a ring takes for now; wanted another attempt, or fewer rings and Workers";
    case Errno.EINTR:
      return "a signal came in between; wanted another attempt";
    default:
      return "the kernel gives no other reason; wanted what its log says (dmesg), or another driver";
  }
}
