/**
 * Runs a command in a virtual machine: a kernel with modules, disks as the test wants them, and this project inside.
 *
 * @module
 */

export { type ContestPlan, type ContestRow, median, runContest } from "./contest.ts";
export { biosDisk, COPY_SECTOR, uefiDisk } from "./boot_disk.ts";
export {
  deviceId,
  type GuestDevice,
  type NvmeDevice,
  pciAddress,
  portAddress,
  type VhostUserBlkDevice,
} from "./devices.ts";
export { type Emulator, EMULATORS, nextProgram } from "./emulator.ts";
export { bootFirmware, type Firmware, machineWithAdapter, machineWithDisk } from "./firmware.ts";
export { Guest, runGuest, runGuestDespiteCrash } from "./guest.ts";
export { GuestError, type GuestJob, type GuestResult, scriptCommand, testCommand } from "./job.ts";
export { hostProgram } from "./programs.ts";
export { guestReady } from "./ready.ts";
export { shellWords } from "./shell.ts";
export { giveBack, handToVfio, VFIO_MODULES } from "./vfio.ts";
