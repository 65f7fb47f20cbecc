import type { BlockDevice } from "../../core/device/block_device.ts";
import { ExportFlag } from "../../core/nbd/protocol.ts";
import type { ServedExport } from "../../core/nbd/server_handshake.ts";
import { type FilePart, filePartAt } from "../../ffi/holes.ts";
import { JobPool, MAX_PAYLOAD_BYTES } from "./job_pool.ts";

/** Bytes that suit a disk which does not say. */
const PREFERRED_BLOCK_BYTES = 4096;

/** What a server has done. */
export interface NbdServeStats {
  /** Clients that have connected. */
  clients: number;
  /** Requests that were answered. */
  requests: number;
  /** Of those, the ones with an error. */
  errors: number;
  /** System calls that sent replies. */
  sends: number;
}

/** The disk behind a server, as all of its clients share it. */
export class NbdDisk {
  readonly device: BlockDevice;
  readonly offer: ServedExport;
  readonly jobs: JobPool;
  /** A discard leaves zeroes behind: so it does in a file, which gets a hole. A block device promises nothing. */
  readonly punches: boolean;
  readonly stats: NbdServeStats = { clients: 0, requests: 0, errors: 0, sends: 0 };

  /** Serves `device` under a name. */
  constructor(device: BlockDevice, name: string) {
    const { info, alignment, size } = device;
    const writes = info.readOnly ? ExportFlag.readOnly : ExportFlag.sendTrim | ExportFlag.sendWriteZeroes;
    this.device = device;
    this.jobs = new JobPool(device);
    this.punches = info.kind === "file";
    this.offer = {
      name,
      sizeBytes: size - size % alignment.offset,
      // One queue behind all clients: a flush covers what any of them was answered.
      flags: ExportFlag.hasFlags | ExportFlag.sendFlush | ExportFlag.sendFua | ExportFlag.sendDf |
        ExportFlag.multiConn |
        writes,
      minimumBlockBytes: alignment.offset,
      preferredBlockBytes: Math.max(PREFERRED_BLOCK_BYTES, alignment.offset),
      maximumPayloadBytes: MAX_PAYLOAD_BYTES,
    };
  }

  /** What the file behind the disk has at `offset`; where there is no file, all is data. */
  partAt(offset: number, end: number): FilePart {
    const { fileFd } = this.device;
    return fileFd < 0 ? { isHole: false, end } : filePartAt(fileFd, offset, end);
  }
}
