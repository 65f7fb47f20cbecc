import { Blkio, BlkioFailure, LIBBLKIO, LIBBLKIO_SYMBOLS, requireVersion } from "../../ffi/libblkio/mod.ts";
import { loadLibrary } from "../../ffi/loader.ts";
import { BLKIO_DRIVERS } from "../blkio/address.ts";
import type { ProbeContext } from "../descriptor.ts";
import { libraryVerdict } from "./library_verdict.ts";
import { type DriverReport, NO_DETAILS } from "./report.ts";

/** Finds out whether libblkio is there, new enough, and which of its drivers it has here. Connects to nothing. */
export function probeBlkio({ touchUring }: ProbeContext): DriverReport {
  const blank = {
    driver: "blkio",
    reason: "",
    remedy: "",
    notes: [],
    library: { name: LIBBLKIO.name, foundAs: null },
    ...NO_DETAILS,
  };
  let library: DriverReport["library"] = blank.library;
  try {
    library = { ...library, foundAs: loadLibrary(LIBBLKIO, LIBBLKIO_SYMBOLS).foundAs };
    requireVersion();
  } catch (error) {
    return { ...blank, library, state: "fails", ...libraryVerdict(error, LIBBLKIO) };
  }
  const variants: string[] = [];
  const notes: string[] = [];
  for (const name of Object.keys(BLKIO_DRIVERS)) {
    // Creating one of these asks the kernel for io_uring, which some sandboxes punish.
    const objection = name.endsWith("io_uring") && !touchUring ? "io_uring was not to be touched" : tryCreate(name);
    if (objection === null) variants.push(name);
    else notes.push(`${name} is not available: ${objection}`);
  }
  if (variants.length > 0) return { ...blank, library, state: "works", notes, variants };
  const [reason = ""] = notes;
  return { ...blank, library, state: "fails", reason, remedy: "Use another driver", notes };
}

function tryCreate(name: string): string | null {
  try {
    using _sample = new Blkio(name);
    return null;
  } catch (error) {
    if (error instanceof BlkioFailure) return `libblkio says "${error.message}"`;
    throw error;
  }
}
