import { PAGE_BYTES } from "../../core/base/sizes.ts";
import { StorageError } from "../../core/base/errors.ts";
import { closeFile, ioctlBuffer, LIBC_CONSTANTS as L, openFile } from "../../ffi/libc/mod.ts";
import { AlignedMemory } from "../../ffi/memory.ts";
import { NVME_CONSTANTS as C, NVME_IOCTL_ADMIN_CMD, NVME_PASSTHRU_CMD as CMD } from "../../ffi/vfio_nvme/mod.ts";
import { type AdminCommand, getLogPage, identify } from "./commands.ts";
import { NvmeStatusError, statusErrno } from "./status.ts";

/** Reads identify and log pages: through the kernel's driver here, through our own in tools.ts. */
export interface AdminReader {
  /** A structure of Identify. */
  identify(cns: number, nsid?: number): Promise<Uint8Array>;
  /** A log page of at most 4 KiB. */
  logPage(id: number, byteLength: number): Promise<Uint8Array>;
}

/** Asks a controller that the kernel's driver has, through its node (linux/nvme_ioctl.h). Only reads. */
export class KernelAdmin implements AdminReader {
  readonly #path: string;

  /** Asks the controller `/dev/nvme0`. */
  constructor(path: string) {
    this.#path = path;
  }

  identify(cns: number, nsid = 0): Promise<Uint8Array> {
    return this.#read(identify(cns, 0, nsid), PAGE_BYTES);
  }

  logPage(id: number, byteLength: number): Promise<Uint8Array> {
    return this.#read(getLogPage(id, byteLength, 0), byteLength);
  }

  // deno-lint-ignore require-await -- what throws here has to reject
  async #read(command: AdminCommand, byteLength: number): Promise<Uint8Array> {
    using memory = new AlignedMemory(PAGE_BYTES);
    const bytes = new Uint8Array(CMD.byteLength);
    const view = new DataView(bytes.buffer);
    const put = (field: keyof typeof CMD.fields, value: number) =>
      view.setUint32(CMD.fields[field].offset, value >>> 0, true);
    view.setUint8(CMD.fields.opcode.offset, command.opcode);
    put("nsid", command.nsid ?? 0);
    put("addr", memory.addressLow);
    view.setUint32(CMD.fields.addr.offset + 4, memory.addressHigh >>> 0, true);
    put("data_len", byteLength);
    put("cdw10", command.cdw10 ?? 0);
    put("cdw11", command.cdw11 ?? 0);
    const fd = openFile(this.#path, L.O_RDONLY.value);
    try {
      const result = ioctlBuffer(fd, NVME_IOCTL_ADMIN_CMD, bytes, this.#path);
      if (result !== 0) {
        const cause = new NvmeStatusError(result);
        const fields = { op: `${command.name} on`, target: this.#path, errno: statusErrno(result) };
        throw new StorageError({ kind: "io", ...fields, detail: cause.message, cause });
      }
      return memory.bytes.slice(0, byteLength);
    } finally {
      closeFile(fd, this.#path);
    }
  }
}

/** Identify structures that the tools read. */
export const CNS = {
  controller: C.NVME_IDENTIFY_CNS_CTRL.value,
  namespace: C.NVME_IDENTIFY_CNS_NS.value,
  activeList: C.NVME_IDENTIFY_CNS_NS_ACTIVE_LIST.value,
} as const;
