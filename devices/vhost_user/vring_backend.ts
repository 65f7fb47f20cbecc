import type { ManageAll } from "../virtio/mod.ts";

/** A region of guest memory as the front end names it. */
export interface RegionSpec {
  /** Number of the region in this session: a backend maps a region that it knows already no second time. */
  readonly id: number;
  /** Descriptor of the file, open until the backend has answered. */
  readonly fd: number;
  /** Address in the guest. */
  readonly guestAddress: number;
  /** Address in the front end. */
  readonly userAddress: number;
  /** Bytes. */
  readonly byteLength: number;
  /** First byte in the file. */
  readonly fileOffset: number;
}

/** A part of a shared file: the dirty log, a queue's part of the in-flight file. */
export interface FileRange {
  /** Descriptor, open until the backend has answered. */
  readonly fd: number;
  /** First byte. */
  readonly fileOffset: number;
  /** Bytes. */
  readonly byteLength: number;
}

/** A queue that is to be served. */
export interface QueueSpec {
  /** Its index. */
  readonly index: number;
  /** Entries. */
  readonly size: number;
  /** Descriptor table, available and used ring: addresses in the front end. */
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  /** Pages that are written to are marked in the dirty log. */
  readonly logging: boolean;
  /** Guest address of the used ring where that is to be marked as well, else −1. */
  readonly usedLogAddress: number;
  /** Next entry of the available ring. */
  readonly nextAvail: number;
  /** Nothing is taken before the first kick: the ring may still be described anew. */
  readonly awaitKick: boolean;
  /** Features that were negotiated. */
  readonly features: bigint;
  /** Descriptors: kick, call or −1, error or −1; the backend makes copies of its own. */
  readonly kickFd: number;
  readonly callFd: number;
  readonly errFd: number;
  /** The queue's part of the in-flight file and the entries it was made for, or null. */
  readonly inflight: (FileRange & { readonly queueSize: number }) | null;
}

/** Where a queue has stopped. */
export interface StoppedQueue {
  /** Next entry of the available ring. */
  readonly nextAvail: number;
  /** It had been kicked, or was not to wait for that. */
  readonly kicked: boolean;
}

/** Which of a queue's two descriptors that are signalled. */
export type SignalName = "call" | "err";

/** Who serves the queues: this Worker, or others. Everything is plain data, so that it can be sent to a Worker. */
export interface VringBackend {
  /** Called when the driver of a queue broke a rule: the queue takes nothing any more. Set by the session. */
  onBroken: ((index: number) => void) | null;
  /** Makes these regions the guest's memory. Requests in flight keep the memory they have. */
  setMemory(regions: readonly RegionSpec[]): Promise<void>;
  /** Marks written pages in this file from the next start of a queue on; null for no longer. */
  setLog(log: FileRange | null): Promise<void>;
  /** Serves a queue. */
  startQueue(queue: QueueSpec): Promise<void>;
  /** Finishes what is in flight and stops. */
  stopQueue(index: number): Promise<StoppedQueue>;
  /** Whether a queue that is served has been kicked, or was not to wait for that. */
  isKicked(index: number): Promise<boolean>;
  /** Signals another descriptor for a queue that is served; −1 for none. */
  setSignal(index: number, which: SignalName, fd: number): Promise<void>;
  /** The configuration space has changed. */
  configured(config: Uint8Array): Promise<void>;
  /** Has the device model carry out an order, in each Worker; resolves to their answers. */
  manage(order: unknown): Promise<readonly unknown[]>;
  /** Stops all queues and lets go of the guest's memory. */
  reset(): Promise<void>;
}

/** Who serves the queues of one Worker. */
export interface WorkerVrings extends VringBackend {
  /** How the device model of this Worker reaches those of all: by itself where there are no others. */
  manageAll: ManageAll;
}
