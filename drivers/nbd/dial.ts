import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { type ExportFacts, type HandshakeWish, NbdRefusal, negotiate } from "../../core/nbd/handshake.ts";
import { HandshakeRunner } from "../../core/nbd/handshake_runner.ts";
import { NbdProtocolError, OptionReply } from "../../core/nbd/protocol.ts";
import {
  beginConnect,
  closeSocket,
  connectResult,
  notConnected,
  pollSoon,
  READABLE,
  type SocketAddress,
  WRITABLE,
} from "../../ffi/stream_socket.ts";
import { receive, send } from "../../ffi/unix_socket.ts";

/** A descriptor that has to become ready before dialling goes on. */
export interface DialWait {
  readonly fd: number;
  readonly events: number;
}

/** A connection after its handshake. The caller owns the descriptor. */
export interface Dialled {
  readonly fd: number;
  readonly facts: ExportFacts;
  /** Bytes that came behind the handshake. */
  readonly rest: Uint8Array;
}

/** Bytes of one receive while negotiating. */
const RECEIVE_BYTES = 4096;

/** Whom to dial, and what to ask for. */
export interface Dial {
  /** Addresses of the server; the first that answers is taken. */
  readonly addresses: readonly SocketAddress[];
  readonly wish: HandshakeWish;
  /** The target as messages name it. */
  readonly target: string;
}

/**
 * Connects and negotiates without ever waiting itself: yields what has to be ready, however its driver waits. Throws
 * StorageError; nothing is open then, nor when it is ended early.
 */
export function* dial({ addresses, wish, target }: Dial): Generator<DialWait, Dialled, void> {
  let failure: unknown;
  for (const address of addresses) {
    let fd: number;
    try {
      fd = yield* connected(address);
    } catch (error) {
      failure = error;
      continue;
    }
    let dialled: Dialled | null = null;
    try {
      return dialled = yield* shaken(fd, wish, target);
    } finally {
      if (dialled === null) closeSocket(fd);
    }
  }
  throw failure;
}

function* connected(address: SocketAddress): Generator<DialWait, number, void> {
  const fd = beginConnect(address);
  let errno = -1;
  try {
    yield { fd, events: WRITABLE };
    errno = connectResult(fd);
  } finally {
    if (errno !== 0) closeSocket(fd);
  }
  if (errno !== 0) throw notConnected(address.name, errno);
  return fd;
}

function* shaken(fd: number, wish: HandshakeWish, target: string): Generator<DialWait, Dialled, void> {
  const buffer = new Uint8Array(RECEIVE_BYTES);
  try {
    const runner = new HandshakeRunner(negotiate(wish));
    for (;;) {
      for (let output = runner.takeOutput(); output !== null; output = runner.takeOutput()) {
        yield* sent(fd, output, target);
      }
      if (runner.result !== null) return { fd, facts: runner.result.value, rest: runner.rest };
      const received = receive(fd, buffer, target);
      if (received === null) yield { fd, events: READABLE };
      else if (received.byteLength > 0) runner.feed(buffer.subarray(0, received.byteLength));
      else throw new NbdProtocolError("it has closed the connection in the handshake");
    }
  } catch (error) {
    throw explained(error, target);
  }
}

function* sent(fd: number, bytes: Uint8Array<ArrayBuffer>, target: string): Generator<DialWait, void, void> {
  for (let at = 0; at < bytes.length;) {
    const byteLength = send(fd, bytes.subarray(at), [], target);
    at += byteLength;
    if (byteLength === 0) yield { fd, events: WRITABLE };
  }
}

/** Errnos of what a server refuses with, which are those that a file would have, and what is wanted. */
const REFUSALS: Readonly<Record<number, readonly [errno: number, wanted: string]>> = {
  [OptionReply.errPolicy]: [Errno.EACCES, "an export that it allows"],
  [OptionReply.errTlsRequired]: [0, "a server, or an export, without TLS"],
  [OptionReply.errUnknown]: [Errno.ENOENT, "the name of one that it has"],
  [OptionReply.errShutdown]: [Errno.ESHUTDOWN, "one that goes on"],
};

function explained(error: unknown, target: string): unknown {
  if (error instanceof NbdProtocolError) {
    const detail = error.message;
    return new StorageError({ kind: "open", op: "open", target, errno: Errno.EPROTO, detail, cause: error });
  }
  if (!(error instanceof NbdRefusal)) return error;
  const [errno, wanted] = REFUSALS[error.reply] ?? [0, "an export that it serves"];
  const detail = `${error.message}; wanted ${wanted}`;
  return new StorageError({ kind: "open", op: "open", target, errno, detail, cause: error });
}

/** The error of a server that lets a client wait. */
export function slowServer(target: string, timeoutMs: number, what = "finished the handshake"): StorageError {
  const detail = `the server has not ${what} within ${timeoutMs} ms`;
  return new StorageError({ kind: "open", op: "open", target, errno: Errno.ETIMEDOUT, detail });
}

/** Dials and waits on another thread, for at most `timeoutMs`. */
export async function dialSoon(request: Dial, timeoutMs: number): Promise<Dialled> {
  const deadlineMs = performance.now() + timeoutMs;
  const dialling = dial(request);
  let step = dialling.next();
  while (!step.done) {
    const leftMs = Math.ceil(deadlineMs - performance.now());
    if (leftMs <= 0) {
      // What is open is closed by what ends it.
      dialling.return(undefined as never);
      throw slowServer(request.target, timeoutMs);
    }
    await pollSoon(step.value.fd, step.value.events, leftMs);
    step = dialling.next();
  }
  return step.value;
}
