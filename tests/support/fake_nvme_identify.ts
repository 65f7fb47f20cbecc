/** What the fake controller says of itself, written at the offsets of the layout tables. */
import type { StructLayout } from "../../core/base/layout.ts";
import { NVME_CONSTANTS as C, NVME_ID_CTRL, NVME_ID_NS, NVME_LBAF } from "../../ffi/vfio_nvme/mod.ts";
import type { FakeCommand, FakeNvme } from "./fake_nvme.ts";

/** A namespace in memory. */
export class FakeNamespace {
  readonly blockShift: number;
  readonly blockCount: number;
  readonly metadataBytes: number;
  readonly writeProtected: boolean;
  readonly data: Uint8Array;

  constructor(
    options: { blockCount: number; blockShift?: number; metadataBytes?: number; writeProtected?: boolean },
  ) {
    this.blockCount = options.blockCount;
    this.blockShift = options.blockShift ?? 9;
    this.metadataBytes = options.metadataBytes ?? 0;
    this.writeProtected = options.writeProtected ?? false;
    this.data = new Uint8Array(this.blockCount * this.blockBytes);
  }

  get blockBytes(): number {
    return 2 ** this.blockShift;
  }

  /** The bytes of a range, or null when it goes past the end. */
  blocks(first: number, count: number): Uint8Array | null {
    if (first + count > this.blockCount) return null;
    return this.data.subarray(first * this.blockBytes, (first + count) * this.blockBytes);
  }

  /** Fills a range; the status. */
  fill(first: number, count: number, value: number): number {
    const blocks = this.blocks(first, count);
    blocks?.fill(value);
    return blocks === null ? 0x4080 : 0;
  }
}

/** The answer to an Identify command, or null for one that the controller does not know. */
export function identifyPage(fake: FakeNvme, { cdw10, nsid }: FakeCommand): Uint8Array | null {
  const page = new Uint8Array(4096);
  switch (cdw10 & 0xff) {
    case C.NVME_IDENTIFY_CNS_CTRL.value: {
      const put = writer(NVME_ID_CTRL, page);
      put("vid", 0x1b36);
      put("nn", fake.namespaces.length);
      put("mdts", fake.options.mdts ?? 0);
      put("oncs", fake.options.optional ?? C.NVME_CTRL_ONCS_DSM.value | C.NVME_CTRL_ONCS_WRITE_ZEROES.value);
      put("vwc", C.NVME_CTRL_VWC_PRESENT.value);
      page.set(new TextEncoder().encode("FAKE0001".padEnd(20)), NVME_ID_CTRL.fields.sn.offset);
      page.set(new TextEncoder().encode("plugio fake controller".padEnd(40)), NVME_ID_CTRL.fields.mn.offset);
      page.set(new TextEncoder().encode("1.0".padEnd(8)), NVME_ID_CTRL.fields.fr.offset);
      return page;
    }
    case C.NVME_IDENTIFY_CNS_NS_ACTIVE_LIST.value: {
      const list = new DataView(page.buffer);
      fake.namespaces.forEach((_, index) => list.setUint32(index * 4, index + 1, true));
      return page;
    }
    case C.NVME_IDENTIFY_CNS_NS.value: {
      const namespace = fake.namespaces[nsid - 1];
      if (namespace === undefined) return null;
      const put = writer(NVME_ID_NS, page);
      put("nsze", namespace.blockCount);
      put("ncap", namespace.blockCount);
      put("nuse", namespace.blockCount);
      put("nsattr", namespace.writeProtected ? 1 : 0);
      const format = writer(NVME_LBAF, page.subarray(NVME_ID_NS.fields.lbaf.offset));
      format("ds", namespace.blockShift);
      format("ms", namespace.metadataBytes);
      return page;
    }
    default:
      return null;
  }
}

function writer<Names extends string>(layout: StructLayout<Names>, bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return (name: Names, value: number) => {
    const { kind, offset } = layout.fields[name];
    if (kind === "u8") view.setUint8(offset, value);
    else if (kind === "u16") view.setUint16(offset, value, true);
    else if (kind === "u32") view.setUint32(offset, value, true);
    else view.setBigUint64(offset, BigInt(value), true);
  };
}
