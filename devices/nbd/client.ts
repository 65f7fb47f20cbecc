import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { HandshakeRunner } from "../../core/nbd/handshake_runner.ts";
import { Chunk, Command, CommandFlag, NbdProtocolError, wireErrorOf } from "../../core/nbd/protocol.ts";
import { type ReplyKind, writeChunk, writePlainReply, writeReadReply } from "../../core/nbd/reply.ts";
import { RequestHead } from "../../core/nbd/request_head.ts";
import { type ClientChoice, welcome } from "../../core/nbd/server_handshake.ts";
import { plugCall } from "../../core/plug/plug.ts";
import { RequestFlag } from "../../core/request/request.ts";
import { closeSocket } from "../../ffi/stream_socket.ts";
import { send } from "../../ffi/unix_socket.ts";
import { isFollowedByPayload, memoryBytesOf, refusalOf } from "./commands.ts";
import type { NbdDisk } from "./disk.ts";
import { ClientInput } from "./input.ts";
import type { Job, JobOp, JobOwner } from "./job.ts";
import { MAX_PAYLOAD_BYTES } from "./job_pool.ts";
import { ReplyQueue } from "./reply_queue.ts";
import { writeStatus } from "./status.ts";

/** Requests of one client that are taken in before it is answered; a power of two. */
const MAX_REQUESTS = 256;

/** What a client needs of its server. */
interface ClientHost {
  readonly disk: NbdDisk;
  /** Whether the socket counts as ready when it takes more bytes; it does when there is something to read, unless `reads` is false. */
  watch(client: NbdClient, reads: boolean, writes: boolean): void;
  /** The client has left, and nothing of it is in flight. */
  left(client: NbdClient, reason: string): void;
}

/** One client, from its greeting to its end. */
export class NbdClient implements JobOwner {
  readonly fd: number;
  readonly #host: ClientHost;
  readonly #input = new ClientInput();
  readonly #replies: ReplyQueue;
  #runner: HandshakeRunner<ClientChoice | null> | null;
  #head = new RequestHead(false);
  #kind: ReplyKind = "simple";
  #wantsStatus = false;
  /** The request whose payload comes in, and bytes of it that are missing. One with an errno has no memory for them. */
  #writing: Job | null = null;
  #missingBytes = 0;
  #inflight = 0;
  /** True while there is no room for another request: nothing is read. */
  #stalled = false;
  #leaving: string | null = null;
  #gone = false;
  /** True once nothing more is sent: what the disk still has is thrown away. */
  #isMute = false;
  #watched = 0;

  /** Greets the client at `fd`, which it owns. */
  constructor(fd: number, host: ClientHost) {
    this.fd = fd;
    this.#host = host;
    this.#replies = new ReplyQueue(fd, MAX_REQUESTS, (job) => host.disk.jobs.give(job));
    this.#runner = new HandshakeRunner(welcome(host.disk.offer));
  }

  /** Sends the greeting: to be called once the server knows the client. */
  begin(): void {
    try {
      this.#negotiate(new Uint8Array(0));
    } catch (error) {
      this.#caught(error);
    }
  }

  /** True while something is at the disk or on its way to the client. */
  get busy(): boolean {
    return this.#inflight > 0 || this.#replies.size > 0;
  }

  /** The socket is ready: takes requests in, and sends what had to wait. */
  look(): void {
    if (this.#gone) return;
    try {
      if (this.#replies.blocked) this.#sendReplies();
      while (this.#leaving === null && !this.#stalled && this.#receive());
    } catch (error) {
      this.#caught(error);
    }
  }

  /** There is memory again: goes on with what had to wait for it. */
  goOn(): void {
    if (this.#gone || !this.#stalled || this.#leaving !== null) return;
    this.#stalled = false;
    try {
      this.#parse();
    } catch (error) {
      this.#caught(error);
    }
  }

  /** Ends the connection without an answer to what is in flight. */
  cut(): void {
    this.#silence();
    this.leave("it does not take its replies");
  }

  /** Takes no more requests; what is in flight is answered, and then the connection ends. */
  leave(reason: string): void {
    this.#leaving ??= reason;
    if (this.#writing !== null) {
      this.#host.disk.jobs.give(this.#writing);
      this.#writing = null;
      this.#inflight--;
    }
    this.#settle();
  }

  completed(job: Job, result: number): void {
    if (job.command === Command.read) this.#answer(job, result < 0 ? -result : 0, job.length);
    else if (job.command === Command.write && result >= 0 && result < job.length) this.#answer(job, Errno.ENOSPC, 0);
    else if (result < 0 && job.punches) this.#zero(job);
    else if (result >= 0 && job.isDurable && job.command !== Command.write) this.#makeDurable(job);
    else this.#answer(job, result < 0 ? -result : 0, 0);
  }

  #receive(): boolean {
    const job = this.#writing?.errno === 0 ? this.#writing : null;
    const result = this.#input.receive(this.fd, job, this.#missingBytes);
    if (result === -Errno.EAGAIN || result === -Errno.EINTR) return false;
    if (result <= 0) {
      this.leave(result === 0 ? "it has closed the connection" : "the connection has failed");
      return false;
    }
    const taken = job === null ? 0 : Math.min(result, this.#missingBytes);
    if (taken > 0) this.#received(taken);
    if (this.#runner !== null) this.#negotiate(this.#input.takeAll());
    if (this.#runner === null) this.#parse();
    return this.#input.wasFilled && this.#leaving === null && !this.#stalled;
  }

  #negotiate(bytes: Uint8Array): void {
    const runner = this.#runner!;
    runner.feed(bytes);
    for (let output = runner.takeOutput(); output !== null; output = runner.takeOutput()) {
      // What a client does not read of some hundred bytes it will not read later.
      if (send(this.fd, output, [], "client") < output.length) {
        throw new NbdProtocolError("it does not read the handshake");
      }
    }
    if (runner.result === null) return;
    const choice = runner.result.value;
    this.#runner = null;
    if (choice === null) return this.leave("it has ended the negotiation");
    this.#kind = choice.extendedHeaders ? "extended" : choice.structuredReplies ? "structured" : "simple";
    this.#wantsStatus = choice.wantsStatus;
    this.#head = new RequestHead(choice.extendedHeaders);
    this.#input.put(runner.rest);
  }

  /** Takes requests out of the buffer, as far as they are complete and there is room for them. */
  #parse(): void {
    const input = this.#input;
    while (this.#leaving === null) {
      if (this.#missingBytes > 0) {
        const part = Math.min(this.#missingBytes, input.size);
        if (part === 0) break;
        const job = this.#writing!;
        input.moveTo(job.errno === 0 ? job.buffer : null, job.length - this.#missingBytes, part);
        this.#received(part);
        continue;
      }
      if (input.size < this.#head.byteLength) break;
      this.#head.read(input.bytes, input.start);
      if (!this.#take(this.#head)) {
        this.#stalled = true;
        break;
      }
      input.skip(this.#head.byteLength);
    }
    this.#settle();
  }

  /** Starts a request; false while there is no room for it. */
  #take(head: RequestHead): boolean {
    const { command, length } = head;
    if (command === Command.disconnect) {
      this.leave("it has said goodbye");
      return true;
    }
    if (this.#inflight + this.#replies.size >= MAX_REQUESTS) return false;
    const { disk } = this.#host;
    const errno = refusalOf(head, disk.offer, this.#wantsStatus);
    const hasPayload = isFollowedByPayload(head);
    if (hasPayload && length > MAX_PAYLOAD_BYTES) {
      throw new NbdProtocolError(`a request has a payload of ${length} bytes; wanted at most ${MAX_PAYLOAD_BYTES}`);
    }
    const job = disk.jobs.take(errno === 0 ? memoryBytesOf(head) : 0);
    if (job === null) {
      disk.jobs.waitFor(this);
      return false;
    }
    job.owner = this;
    job.high = head.high;
    job.low = head.low;
    job.offset = head.offset;
    job.length = length;
    job.command = command;
    job.errno = errno;
    job.isDurable = (head.flags & CommandFlag.fua) !== 0;
    job.punches = disk.punches && command === Command.writeZeroes && (head.flags & CommandFlag.noHole) === 0;
    this.#inflight++;
    if (hasPayload && length > 0) {
      this.#writing = job;
      this.#missingBytes = length;
    } else if (errno !== 0 || (length === 0 && command !== Command.flush)) this.#answer(job, errno, 0);
    else if (command === Command.blockStatus) this.#answerStatus(job, (head.flags & CommandFlag.reqOne) !== 0);
    else this.#submit(job, job.punches ? "discard" : JOB_OPS[command]!);
    return true;
  }

  #received(byteLength: number): void {
    this.#missingBytes -= byteLength;
    if (this.#missingBytes > 0) return;
    const job = this.#writing!;
    this.#writing = null;
    if (job.errno !== 0) this.#answer(job, job.errno, 0);
    else this.#submit(job, "write");
  }

  /** The file system makes no holes: zeroes are written, as for a client that wants none. */
  #zero(job: Job): void {
    job.punches = false;
    this.#submit(job, "writeZeroes");
  }

  /** Discards and zeroes with FUA are flushed behind. */
  #makeDurable(job: Job): void {
    job.isDurable = false;
    this.#submit(job, "flush");
  }

  #submit(job: Job, op: JobOp): void {
    try {
      job.start(op, op === "write" && job.isDurable ? RequestFlag.fua : 0);
    } catch (error) {
      // The disk is closed, say; a range was looked at before.
      this.#answer(job, error instanceof StorageError && error.errno !== 0 ? error.errno : Errno.EIO, 0);
    }
  }

  /** Queues the reply to a job: an errno, or success with so many bytes of payload. */
  #answer(job: Job, errno: number, payloadBytes: number): void {
    const { stats, jobs } = this.#host.disk;
    stats.requests++;
    if (errno !== 0) stats.errors++;
    this.#inflight--;
    if (this.#isMute) {
      jobs.give(job);
      return this.#settle();
    }
    const replies = this.#replies;
    const { headers, nextAt } = replies;
    const headerBytes = errno === 0 && payloadBytes > 0
      ? writeReadReply(headers, nextAt, this.#kind, job, payloadBytes)
      : writePlainReply(headers, nextAt, this.#kind, job, errno === 0 ? 0 : wireErrorOf(errno));
    replies.push(job, headerBytes, errno === 0 ? payloadBytes : 0);
    plugCall(sendOf, this);
  }

  #answerStatus(job: Job, one: boolean): void {
    const { disk } = this.#host;
    const payloadBytes = writeStatus(job.buffer, job, disk, { isExtended: this.#kind === "extended", one });
    const type = this.#kind === "extended" ? Chunk.blockStatusExtended : Chunk.blockStatus;
    disk.stats.requests++;
    this.#inflight--;
    const { headers, nextAt } = this.#replies;
    this.#replies.push(job, writeChunk(headers, nextAt, this.#kind, job, type, payloadBytes), payloadBytes);
    plugCall(sendOf, this);
  }

  /** Sends what is answered, and goes on reading where that had to wait. */
  sendReplies(): void {
    if (this.#gone) return;
    try {
      this.#sendReplies();
    } catch (error) {
      this.#caught(error);
    }
  }

  #sendReplies(): void {
    const sends = this.#replies.send();
    if (sends < 0) {
      this.#silence();
      this.leave("the connection has failed");
    } else this.#host.disk.stats.sends += sends;
    if (this.#stalled && !this.#replies.blocked && this.#leaving === null) {
      this.#stalled = false;
      this.#parse();
    }
    this.#settle();
  }

  /** Tells the server what the socket is waited for, and ends a client that leaves when nothing of it is left. */
  #settle(): void {
    if (this.#gone) return;
    if (this.#leaving !== null && !this.busy) return this.#depart();
    const reads = this.#leaving === null && !this.#stalled;
    const wanted = (reads ? 1 : 0) | (this.#replies.blocked ? 2 : 0);
    if (wanted === this.#watched) return;
    this.#watched = wanted;
    this.#host.watch(this, reads, this.#replies.blocked);
  }

  /** A client that breaks the protocol is left without another word. */
  #caught(error: unknown): void {
    if (!(error instanceof NbdProtocolError) && !(error instanceof StorageError)) throw error;
    this.#silence();
    this.#runner = null;
    this.leave(`it broke the protocol: ${error.message}`);
  }

  #silence(): void {
    this.#isMute = true;
    this.#replies.drop();
  }

  #depart(): void {
    this.#gone = true;
    this.#host.left(this, this.#leaving!);
    closeSocket(this.fd);
    this.#replies[Symbol.dispose]();
    this.#input[Symbol.dispose]();
  }
}

/** One stable function, so that a section sends once for each client. */
function sendOf(client: NbdClient): void {
  client.sendReplies();
}

/** What the disk is asked for each command that has no payload behind it. */
const JOB_OPS: Readonly<Record<number, JobOp>> = {
  [Command.read]: "read",
  [Command.flush]: "flush",
  [Command.trim]: "discard",
  [Command.writeZeroes]: "writeZeroes",
};
