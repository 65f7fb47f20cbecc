/** Named limits of the whole house. Each carries its unit in the name and its source beside it. */

/** Bytes the kernel transfers at most in one read or write: MAX_RW_COUNT, INT_MAX rounded down to a 4 KiB page. */
export const MAX_TRANSFER_BYTES = 0x7ffff000;

/** Largest byte offset a request may reach: what a double counts exactly. */
export const MAX_OFFSET_BYTES = Number.MAX_SAFE_INTEGER;

/** iovecs in one vectored request: UIO_MAXIOV of linux/uio.h. */
export const MAX_IOVECS = 1024;

/** Bytes that foreign buffers of one device bounce through at once; a power of two. Bounds locked memory. */
export const BOUNCE_POOL_BYTES = 4 * 1024 * 1024;

/** The same for all devices of one queue, beyond which a device that has nothing yet gets a block and no other. */
export const BOUNCE_QUEUE_BYTES = 32 * 1024 * 1024;

/** Milliseconds after which bounce memory that was not used is looked at; at the second look it is given back. */
export const BOUNCE_IDLE_MS = 1_000;

/** Largest piece in which a foreign buffer bounces; longer requests are cut and run side by side. */
export const BOUNCE_CHUNK_BYTES = 256 * 1024;

/** Milliseconds that a kernel queue without open devices is kept for the next one. */
export const IDLE_QUEUE_MS = 1_000;

/** Such queues of one Worker at most: each has up to four descriptors, 64 KiB of rings, and 64 KiB of bounce memory. */
export const MAX_IDLE_QUEUES = 4;

/** Bytes of bounce memory that a kernel queue without open devices keeps. */
export const IDLE_BOUNCE_BYTES = 64 * 1024;

/** Default milliseconds that closing waits for I/O in flight before it leaks and reports. */
export const DEFAULT_DRAIN_MS = 5_000;

/** Milliseconds between attempts when the kernel refused a submission with nothing in flight to wait for. */
export const RETRY_DELAY_MS = 1;

/** Milliseconds of such attempts before what was refused fails: less than closing waits. */
export const MAX_REFUSED_MS = 2_000;

/** Microseconds that completions may chain without a macrotask before the event loop gets its turn. */
export const FAIRNESS_BUDGET_US = 500;

/** The same for a Worker that blocks, sleeps included: it does nothing else, and a turn costs a read of a disk 2 to 3 %. */
export const BLOCKED_BUDGET_US = 2_000;

/** Requests of one queue with the kernel at most, unless asked otherwise. */
export const DEFAULT_QUEUE_DEPTH = 1024;

/** Most requests with the kernel that can be asked for: IORING_MAX_ENTRIES of io_uring. */
export const MAX_QUEUE_DEPTH = 32_768;
