/**
 * A machine without a kernel: firmware boots from a disk that another process serves, and what it loads speaks through
 * the serial port.
 *
 * @module
 */

import { join } from "node:path";
import { EXIT_CODE, EXIT_PORT } from "./boot_disk.ts";
import { type Emulator, emulatorStart, uefiFirmware } from "./emulator.ts";

/** Which firmware. */
export type Firmware = "bios" | "uefi";

/** How a machine is started. */
export interface FirmwareBoot {
  readonly emulator: Emulator;
  readonly firmware: Firmware;
  /** QEMU's arguments for machine, memory and disk: {@link machineWithDisk}, or what another program uses. */
  readonly machine: readonly string[];
  /** After this the machine is taken for hung. Default 90,000. */
  readonly timeoutMs?: number;
}

const MEMORY_MIB = 256;
const TIMEOUT_MS = 90_000;
/** Lines of the firmware's own words that an error carries. */
const TAIL_LINES = 25;

/** Boots; returns what was written to the serial port. An Error when the machine does not end as its disk wants it to. */
export async function bootFirmware(boot: FirmwareBoot): Promise<string> {
  const dir = Deno.makeTempDirSync({ prefix: "plugio-boot-" });
  try {
    const { command, env } = emulatorStart(boot.emulator);
    const output = await new Deno.Command("setpriv", {
      args: ["--pdeathsig", "KILL", ...command, ...machineArguments(boot, dir)],
      env,
      stdin: "null",
      signal: AbortSignal.timeout(boot.timeoutMs ?? TIMEOUT_MS),
    }).output();
    const text = (name: string) => new TextDecoder("latin1").decode(Deno.readFileSync(join(dir, name)));
    if (output.code === EXIT_CODE && output.signal === null) return text("serial");
    const words = new TextDecoder().decode(output.stderr).trim();
    const tail = [...text("debug").split("\n"), ...text("serial").split("\n")].slice(-TAIL_LINES).join("\n");
    throw new Error(`Cannot boot from the disk: QEMU ended with ${output.signal ?? output.code}; ${words}\n${tail}`);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

/** A machine, `pc` or `q35`, with no more than memory and the disk that is served at `socket`. */
export function machineWithDisk(machine: "pc" | "q35", socket: string): string[] {
  return [
    ...["-machine", `${machine},memory-backend=memory`, "-nodefaults", "-no-user-config"],
    ...["-object", `memory-backend-memfd,id=memory,size=${MEMORY_MIB}M,share=on`, "-m", `${MEMORY_MIB}M`],
    ...["-chardev", `socket,id=disk,path=${socket}`],
    ...["-device", "vhost-user-blk-pci,chardev=disk,bootindex=0"],
  ];
}

/** The same with an adapter whose LUN 0 of target 0 is booted from. */
export function machineWithAdapter(machine: "pc" | "q35", socket: string): string[] {
  return machineWithDisk(machine, socket)
    .map((word) => word.replace("vhost-user-blk-pci", "vhost-user-scsi-pci,boot_tpgt=0"));
}

function machineArguments({ firmware, machine }: FirmwareBoot, dir: string): string[] {
  for (const name of ["serial", "debug"]) Deno.writeTextFileSync(join(dir, name), "");
  const flash: string[] = [];
  if (firmware === "uefi") {
    const { code, variables } = uefiFirmware();
    Deno.copyFileSync(variables, join(dir, "variables"));
    flash.push("-drive", `if=pflash,format=raw,unit=0,readonly=on,file=${code}`);
    flash.push("-drive", `if=pflash,format=raw,unit=1,file=${join(dir, "variables")}`);
  }
  return [
    ...machine,
    ...["-accel", "tcg", "-display", "none", "-no-reboot"],
    ...["-serial", `file:${join(dir, "serial")}`, "-debugcon", `file:${join(dir, "debug")}`],
    ...["-global", "isa-debugcon.iobase=0x402"],
    ...["-device", `isa-debug-exit,iobase=${EXIT_PORT},iosize=1`],
    ...flash,
  ];
}
