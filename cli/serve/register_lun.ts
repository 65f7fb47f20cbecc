import type { Command } from "npm:commander@15.1.0";
import type { ExitCode } from "../exit_codes.ts";
import type { RawOptions } from "../load/raw_options.ts";

/** Defines `plugio lun` on `lun`; `prepare` makes a command behave like the others. */
export function registerLun(
  lun: Command,
  prepare: (command: Command) => Command,
  finish: (code: ExitCode) => void,
): void {
  lun.description("the disks of a virtio-scsi adapter that is served with --control").helpCommand(false);
  prepare(lun.command("add"))
    .description("add a disk, which a guest that runs finds by itself")
    .argument("<lun>", "[T:]L=TARGET[,serial=TEXT][,wwn=HEX][,rotation=N][,ro]")
    .option("--control <path>", "the adapter's control socket")
    .action(async (text: string, raw: RawOptions) => {
      const { addLun } = await import("./lun_command.ts");
      finish(await addLun(text, raw));
    });
  prepare(lun.command("remove"))
    .description("take a disk away after its commands in flight")
    .argument("<address>", "[T:]L")
    .option("--control <path>", "the adapter's control socket")
    .action(async (text: string, raw: RawOptions) => {
      const { removeLun } = await import("./lun_command.ts");
      finish(await removeLun(text, raw));
    });
  prepare(lun.command("list"))
    .description("the disks now")
    .option("--control <path>", "the adapter's control socket")
    .option("--json", "print JSON")
    .action(async (raw: RawOptions) => {
      const { listLuns } = await import("./lun_command.ts");
      finish(await listLuns(raw));
    });
}
