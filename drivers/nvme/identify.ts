import type { StructLayout } from "../../core/base/layout.ts";
import { NVME_CONSTANTS as C, NVME_ID_CTRL, NVME_ID_CTRL_NVM, NVME_ID_NS, NVME_LBAF } from "../../ffi/vfio_nvme/mod.ts";
import type { CommandLimits } from "./namespace.ts";

/** Reads fields of a structure that the controller wrote: little-endian, at the offsets of its table. */
export class StructReader<Names extends string> {
  readonly #layout: StructLayout<Names>;
  readonly #view: DataView;

  /** Reads `bytes` by `layout`. */
  constructor(layout: StructLayout<Names>, bytes: Uint8Array) {
    this.#layout = layout;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** An integer field; a 64-bit one beyond 2^53 is not exact. */
  integer(name: Names): number {
    const { kind, offset } = this.#layout.fields[name];
    if (kind === "u8") return this.#view.getUint8(offset);
    if (kind === "u16") return this.#view.getUint16(offset, true);
    if (kind === "u32") return this.#view.getUint32(offset, true);
    return Number(this.#view.getBigUint64(offset, true));
  }

  /** ASCII padded with spaces. */
  text(name: Names, byteLength: number): string {
    const { offset } = this.#layout.fields[name];
    const bytes = new Uint8Array(this.#view.buffer, this.#view.byteOffset + offset, byteLength);
    return new TextDecoder("latin1").decode(bytes).replace(/[\0 ]+$/, "");
  }

  /** Bytes of a field. */
  bytes(name: Names, byteLength: number): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#layout.fields[name].offset, byteLength);
  }
}

/** What the driver keeps of Identify Controller. */
export interface ControllerIdentity {
  /** Serial number. */
  readonly serial: string;
  /** Model. */
  readonly model: string;
  /** Firmware revision. */
  readonly firmware: string;
  /** Namespace identifiers go from 1 to this one. */
  readonly maxNamespaces: number;
  /** Limits of commands. */
  readonly limits: CommandLimits;
  /** Milliseconds that a shutdown may take (RTD3E), or 0 where the controller does not tell. */
  readonly shutdownMs: number;
  /** The controller has a volatile write cache. */
  readonly writeCache: boolean;
}

/** Reads Identify Controller; `nvm` is that of the NVM command set, or null where the controller has none. */
export function readControllerIdentity(
  bytes: Uint8Array,
  nvm: Uint8Array | null,
  minPageBytes: number,
): ControllerIdentity {
  const id = new StructReader(NVME_ID_CTRL, bytes);
  const power = (exponent: number) => exponent === 0 ? 0 : 2 ** exponent * minPageBytes;
  const optional = id.integer("oncs");
  const more = nvm === null ? null : new StructReader(NVME_ID_CTRL_NVM, nvm);
  return {
    serial: id.text("sn", 20),
    model: id.text("mn", 40),
    firmware: id.text("fr", 8),
    maxNamespaces: id.integer("nn"),
    limits: {
      transferBytes: power(id.integer("mdts")),
      writeZeroesBytes: power(more?.integer("wzsl") ?? 0),
      discardBlocks: more?.integer("dmrsl") ?? 0,
      discard: (optional & C.NVME_CTRL_ONCS_DSM.value) !== 0,
      writeZeroes: (optional & C.NVME_CTRL_ONCS_WRITE_ZEROES.value) !== 0,
    },
    // RTD3E counts microseconds.
    shutdownMs: Math.ceil(id.integer("rtd3e") / 1000),
    writeCache: (id.integer("vwc") & C.NVME_CTRL_VWC_PRESENT.value) !== 0,
  };
}

/** What the driver keeps of Identify Namespace. */
export interface NamespaceIdentity {
  /** Identifier. */
  readonly nsid: number;
  /** Size in blocks; 0 for a namespace that is not active. */
  readonly blockCount: number;
  /** Blocks in use. */
  readonly usedBlocks: number;
  /** Number of the LBA format in use. */
  readonly format: number;
  /** Logarithm of the block size in bytes. */
  readonly blockShift: number;
  /** Bytes of metadata that go with each block. */
  readonly metadataBytes: number;
  /** End-to-end protection is on. */
  readonly protection: boolean;
  /** Writes are refused. */
  readonly writeProtected: boolean;
}

/** Reads Identify Namespace. */
export function readNamespaceIdentity(bytes: Uint8Array, nsid: number): NamespaceIdentity {
  const id = new StructReader(NVME_ID_NS, bytes);
  const selected = id.integer("flbas");
  // Bits 6:5 are the upper part of the number where there are more than 16 formats (NVMe 2.0).
  const format = id.integer("nlbaf") < 16 ? selected & 0xf : (selected & 0xf) | ((selected >>> 1) & 0x30);
  const formats = id.bytes("lbaf", 64 * NVME_LBAF.byteLength);
  const chosen = new StructReader(NVME_LBAF, formats.subarray(format * NVME_LBAF.byteLength));
  return {
    nsid,
    blockCount: id.integer("nsze"),
    usedBlocks: id.integer("nuse"),
    format,
    blockShift: chosen.integer("ds"),
    metadataBytes: chosen.integer("ms"),
    protection: (id.integer("dps") & 0b111) !== 0,
    writeProtected: (id.integer("nsattr") & C.NVME_NS_NSATTR_WRITE_PROTECTED.value) !== 0,
  };
}

/** Reads a list of namespace identifiers: ascending, ended by 0. */
export function readNamespaceList(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const list: number[] = [];
  for (let at = 0; at < bytes.byteLength; at += 4) {
    const nsid = view.getUint32(at, true);
    if (nsid === 0) break;
    list.push(nsid);
  }
  return list;
}
