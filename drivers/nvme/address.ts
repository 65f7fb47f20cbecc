import { shown } from "../../core/base/shown.ts";
import { checkText } from "../../core/system/target_path.ts";

/** What stands behind `nvme:`: a PCI address and a namespace. */
interface NvmeAddress {
  /** `0000:01:00.0`, in lower case. */
  readonly address: string;
  /** Namespace identifier, or null where the target names none. */
  readonly nsid: number | null;
}

/** Domain, bus, device and function, then a namespace. */
const PATTERN = /^([0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])(?:\/(\d+))?$/i;

/** Reads `0000:01:00.0/1` or `0000:01:00.0`. Throws a RangeError for anything else. */
export function parseNvmeAddress(target: string): NvmeAddress {
  checkText(target, "read NVMe address", "a PCI address and a namespace, such as 0000:01:00.0/1");
  const match = PATTERN.exec(target);
  const nsid = match?.[2] === undefined ? null : Number(match[2]);
  if (match === null || (nsid !== null && (nsid < 1 || nsid > 0xffff_fffe))) {
    throw new RangeError(
      `Cannot read NVMe address ${shown(target)}: wanted a PCI address and a namespace, such as 0000:01:00.0/1`,
    );
  }
  return { address: match[1]!.toLowerCase(), nsid };
}
