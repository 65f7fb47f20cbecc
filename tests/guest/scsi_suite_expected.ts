/**
 * What the conformance suite has to say of a SCSI disk, by the name of each test.
 *
 * @module
 */

/** Tests of the suite, all families together. */
export const SUITE_TESTS = 215;

/** `"Read10: Simple DpoFua"` as names of tests. */
function tests(...families: string[]): string[] {
  return families.flatMap((line) => {
    const [family, rest = ""] = line.split(": ");
    return rest.split(" ").map((test) => `${family}.${test}`);
  });
}

const VERIFY = "Simple BeyondEol ZeroBlocks Flags Dpo Mismatch";

/** The tests that QEMU 7.2's own scsi-hd fails, by their cause: each is a rule for a disk that does better. */
export const QEMU_FAILURES: Readonly<Record<string, readonly string[]>> = {
  "an unknown command with data-out is refused as OVERRUN, which is a host's error, and not with sense data": tests(
    "CompareAndWrite: Simple DpoFua Miscompare Unwritten",
    "OrWrite: Simple BeyondEol Protect DpoFua Verify",
    "WriteAtomic16: Simple BeyondEol WriteProtect DpoFua VPD",
    "ExtendedCopy: Simple ParamHdr DescrType ValidTgtDescr ValidSegDescr",
  ),
  "VERIFY does not compare": tests(`Verify10: ${VERIFY}`, `Verify12: ${VERIFY}`, `Verify16: ${VERIFY}`),
  "DPO and FUA are taken while the mode pages say that they are not": tests(
    ...["Read10", "Read12", "Read16", "Write10", "Write12", "Write16"].map((family) => `${family}: DpoFua`),
    ...["WriteVerify10", "WriteVerify12", "WriteVerify16"].map((family) => `${family}: Dpo`),
  ),
  "WRITE SAME ignores WRPROTECT": tests("WriteSame10: WriteProtect", "WriteSame16: WriteProtect"),
  "INQUIRY claims no SBC-3, and what it says depends on the allocation length": tests(
    "Inquiry: AllocLength BlockLimits",
  ),
  "there is no control mode page": tests("ModeSense6: Control Control-SWP"),
};

const RESERVATIONS = "EA WE EARO WERO EAAR WEAR".split(" ");

/** The tests that any disk of 512-byte blocks without these commands skips, by what the suite gives as the reason. */
const SKIPPED_ANYHOW: Readonly<Record<string, readonly string[]>> = {
  "--allow-sanitize flag is not set. Skipping test.": tests(
    "Sanitize: BlockErase BlockEraseReserved CryptoErase CryptoEraseReserved ExitFailureMode InvalidServiceAction " +
      "Overwrite OverwriteReserved Readonly Reservations Reset",
  ),
  "GET_LBA_STATUS is not implemented. GETLBASTATUS is not implemented.": tests(
    "GetLBAStatus: Simple BeyondEol UnmapSingle",
  ),
  "LBPPB < 2. Skipping test": tests(
    "CompareAndWrite: InvalidDataOutSize",
    "WriteSame10: UnmapUnaligned InvalidDataOutSize",
    "WriteSame16: UnmapUnaligned InvalidDataOutSize",
  ),
  "LUN is not removable. Skipping test.": tests("NoMedia: NoMediaSBC", "StartStopUnit: PwrCnd NoLoej"),
  "Logical unit is not removable. Skipping test.": tests(
    "PreventAllow: Simple Eject ITNexusLoss Logout WarmReset ColdReset LUNReset 2ITNexuses",
  ),
  "Logical unit is not write-protected. Skipping test.": tests("ReadOnly: ReadOnlySBC"),
  "Media is not removable.": tests("StartStopUnit: Simple"),
  "Multipath unavailable. Skipping test": tests(
    "MultipathIO: Simple Reset CompareAndWrite CompareAndWriteAsync",
  ),
  "ORWRITE is not implemented.": tests("OrWrite: ZeroBlocks"),
  "PERSISTENT RESERVE IN is not implemented.": tests("PrinReadKeys: Simple", "PrinServiceactionRange: Range"),
  "PROUT Not Supported": tests(
    "PrinReadKeys: Truncate",
    "PrinReportCapabilities: Simple",
    "ProutRegister: Simple",
    "ProutReserve: Simple",
    "ProutClear: Simple",
  ),
  "READDEFECTDATA10 is not implemented.": tests("ReadDefectData10: Simple"),
  "READDEFECTDATA12 is not implemented.": tests("ReadDefectData12: Simple"),
  "RECEIVECOPYRESULT is not implemented. RECEIVE_COPY_RESULTS is not implemented.": tests(
    "ExtendedCopy: DescrLimits",
    "ReceiveCopyResults: CopyStatus OpParams",
  ),
  "This PERSISTENT RESERVE test is only supported for iSCSI backends": tests(
    ...RESERVATIONS.map((type) => `ProutReserve: Access${type} Ownership${type}`),
    "ProutPreempt: RemoveRegistration",
  ),
  "This RESERVE6 test is only supported for iSCSI backends": tests(
    "Reserve6: 2Initiators Logout ITNexusLoss TargetColdReset TargetWarmReset LUNReset",
  ),
  "WRITEATOMIC16 is not implemented.": tests("WriteAtomic16: ZeroBlocks"),
  "WRITESAME10 does not support 0-blocks.": tests("WriteSame10: ZeroBlocks"),
  "WRITESAME16 does not support 0-blocks.": tests("WriteSame16: ZeroBlocks"),
};

/** What QEMU's disk skips besides. */
export const QEMU_SKIPPED: Readonly<Record<string, readonly string[]>> = {
  ...SKIPPED_ANYHOW,
  "PREFETCH10 is not implemented.": tests("Prefetch10: Simple BeyondEol ZeroBlocks Flags"),
  "PREFETCH16 is not implemented.": tests("Prefetch16: Simple BeyondEol ZeroBlocks Flags"),
  "REPORT_SUPPORTED_OPCODES is not implemented.": tests("ReportSupportedOpcodes: Simple OneCommand RCTD SERVACTV"),
};

/** What ours skips besides: commands that it does not have, and says so. */
export const OUR_SKIPPED: Readonly<Record<string, readonly string[]>> = {
  ...without(SKIPPED_ANYHOW, "ORWRITE is not implemented.", "WRITEATOMIC16 is not implemented."),
  "COMPAREANDWRITE is not implemented.": tests("CompareAndWrite: Simple DpoFua Miscompare Unwritten"),
  "EXTENDEDCOPY is not implemented.": tests(
    "ExtendedCopy: Simple ParamHdr DescrType ValidTgtDescr ValidSegDescr",
  ),
  "ORWRITE is not implemented.": tests("OrWrite: Simple BeyondEol ZeroBlocks Protect DpoFua Verify"),
  "WRITEATOMIC16 is not implemented.": tests("WriteAtomic16: Simple BeyondEol ZeroBlocks WriteProtect DpoFua VPD"),
  // The test wants INVALID FIELD IN CDB for an operation that has no service actions, and takes it for a sign that the
  // command is not there.
  "REPORT_SUPPORTED_OPCODES is not implemented.": tests("ReportSupportedOpcodes: OneCommand"),
};

function without<Lists extends Readonly<Record<string, unknown>>>(lists: Lists, ...names: string[]): Lists {
  return Object.fromEntries(Object.entries(lists).filter(([name]) => !names.includes(name))) as Lists;
}
