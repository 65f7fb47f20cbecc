import { wordIndex } from "../core/base/layout.ts";
import { AIO_RING, AIO_RING_MAGIC, IOCB, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { libc } from "./libc/mod.ts";
import { ownCall } from "./thread_exit.ts";

/** Polls under way at a time: one per watch of this thread; signals end within their call. */
const MAX_POLLS = 64n;

const POINTER_BYTES = 8;
const WORD_BYTES = 4;

/**
 * Lets the kernel add 1 to an eventfd: a poll of native AIO signals the eventfd that it names when it ends (io_submit(2),
 * IOCB_FLAG_RESFD). The kernel does that without ever waiting, whereas write(2) to an eventfd waits while the counter is
 * full, unless O_NONBLOCK is set: a flag that all who have the eventfd share and may clear at any moment.
 *
 * One context per thread, made on first use, of a few pages and without a descriptor; it ends with the thread, because
 * ending it earlier takes 30 ms.
 */
export class KernelSignals {
  static #ofThread: KernelSignals | null | undefined;
  readonly #context: Deno.PointerObject;
  readonly #ring: Uint32Array<ArrayBuffer>;
  readonly #iocb = new Uint32Array(IOCB.byteLength / WORD_BYTES);
  readonly #list = new BigUint64Array(POINTER_BYTES / BigUint64Array.BYTES_PER_ELEMENT);
  readonly #listPointer = Deno.UnsafePointer.of(this.#list);
  readonly #one = Deno.UnsafePointer.create(1n);
  readonly #submitNumber = Deno.UnsafePointer.create(BigInt(C.SYS_io_submit.value));

  private constructor(context: Deno.PointerObject, ring: Uint32Array<ArrayBuffer>) {
    this.#context = context;
    this.#ring = ring;
    const iocb = new DataView(this.#iocb.buffer);
    iocb.setUint16(IOCB.fields.opcode.offset, C.IOCB_CMD_POLL.value, true);
    iocb.setBigUint64(IOCB.fields.buffer.offset, BigInt(C.POLLIN.value), true);
    iocb.setUint32(IOCB.fields.flags.offset, C.IOCB_FLAG_RESFD.value, true);
    this.#list[0] = Deno.UnsafePointer.value(Deno.UnsafePointer.of(this.#iocb));
  }

  /** Those of this thread, or null where the kernel has none: without AIO, or with fs.aio-max-nr used up. */
  static ofThread(): KernelSignals | null {
    return this.#ofThread === undefined ? this.#ofThread = this.#open() : this.#ofThread;
  }

  static #open(): KernelSignals | null {
    const context = new BigUint64Array(1);
    const number = Deno.UnsafePointer.create(BigInt(C.SYS_io_setup.value));
    const polls = Deno.UnsafePointer.create(MAX_POLLS);
    if (libc().sys_io_setup(number, polls, new Uint8Array(context.buffer)) < 0) return null;
    ownCall("syscall", [BigInt(C.SYS_io_destroy.value), context[0]!]);
    const pointer = Deno.UnsafePointer.create(context[0]!)!;
    const ring = new Uint32Array(Deno.UnsafePointerView.getArrayBuffer(pointer, AIO_RING.headerWords * WORD_BYTES));
    return ring[AIO_RING.magic] === AIO_RING_MAGIC ? new KernelSignals(pointer, ring) : null;
  }

  /**
   * Adds 1 to `eventFd` once `fd` is readable: within this call, if it is so already. False when the kernel does not take
   * it, as for an `eventFd` that is none. Both may be closed meanwhile.
   */
  whenReadable(fd: number, eventFd: number): boolean {
    const ring = this.#ring;
    // What has ended has signalled: there is nothing else to read from it.
    ring[AIO_RING.head] = ring[AIO_RING.tail]!;
    this.#iocb[FD] = fd;
    this.#iocb[EVENT_FD] = eventFd;
    return libc().sys_io_submit(this.#submitNumber, this.#context, this.#one, this.#listPointer) === 1;
  }
}

const FD = wordIndex(IOCB, "fd");
const EVENT_FD = wordIndex(IOCB, "eventFd");
