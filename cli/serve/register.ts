import { type Command, Option } from "npm:commander@15.1.0";
import { DEVICE_BATCH_MODES, DRIVER_NAMES } from "../../mod.ts";
import type { ExitCode } from "../exit_codes.ts";
import type { RawOptions } from "../load/raw_options.ts";

/** Defines `plugio serve` on `serve`; `prepare` makes a command behave like the others. */
export function registerServe(
  serve: Command,
  prepare: (command: Command) => Command,
  finish: (code: ExitCode) => void,
): void {
  serve.description("serve a disk to a virtual machine, or to any program that speaks NBD").helpCommand(false);
  registerNbd(prepare(serve.command("nbd")), finish);
  registerBlk(prepare(serve.command("vhost-user-blk")), finish);
  registerScsi(prepare(serve.command("vhost-user-scsi")), finish);
}

/** Where a vhost-user server listens. */
function addSocketOptions(command: Command): Command {
  return command
    .option("--socket <path>", "where front ends connect, at most 107 bytes; a stale socket is replaced")
    .option("--fd <n>", "descriptor of a socket that listens already (default: the one of LISTEN_FDS)")
    .option("--socket-mode <octal>", "mode of the socket, as 0660 (default: what the umask leaves)")
    .option("--socket-group <group>", "group of the socket, by name or number (default: that of the process)");
}

/** What holds for every disk that a vhost-user server serves, and for its queues. */
function addServeOptions(command: Command): Command {
  return command
    .option("--driver <name>", `${DRIVER_NAMES.join(", ")} (default io_uring)`)
    .option("--direct <0|1>", "bypass the page cache; a bare --direct means 1 (default 1)")
    .option("--no-lock", "serve an image also while another program has it locked, and lock it for none")
    .option("--format <raw>", "raw: serve the bytes as they are, also of a qcow2 image")
    .option("--logical-block-size <size>", "bytes of the blocks that the guest is shown, 512 to 64k (default 512)")
    .option("--physical-block-size <size>", "bytes that it had better write whole (default the disk's blocks)")
    .option("--wce <0|1>", "write-back cache at the start; 0 makes each write durable (default 1)")
    .option("--block <0|1>", "sleep for guest and disk in one call, not in the event loop (default 1)")
    .option("--poll <0|1>", "look at the queues for a moment before sleeping (default 0)")
    .option("--merge <0|1>", "join neighbouring requests (default 1)")
    .option(
      "--defer-notify <0|1>",
      "tell the guest once at the end of a plugged section, not once per answer (default 1)",
    )
    .option("--batch-ramp <0|1>", "submit a pass over a queue after 1, 2, 4 … requests, not whole (default 1)")
    .addOption(new Option("--shares <0|1>", "--batch-ramp").hideHelp())
    .option("--batch <mode>", `when requests are submitted: ${DEVICE_BATCH_MODES.join(", ")} (default plug)`);
}

function isNamed(raw: RawOptions): boolean {
  return raw["socket"] !== undefined || raw["fd"] !== undefined;
}

function registerBlk(command: Command, finish: (code: ExitCode) => void): void {
  addSocketOptions(command)
    .description("a virtio-blk disk at a UNIX socket, until SIGINT or SIGTERM")
    .argument("<target>", "file, block device or driver:address")
    .option("--num-queues <n>", "queues that the guest may use, 1 to 256 (default 16, or one per Worker)")
    .option("--queue-size <n>", "entries of the largest ring, a power of two, 2 to 1024 (default 1024)")
    .option("--workers <n>", "Workers that share the queues, each with its own ring, 1 to 64 (default 1)")
    .option("--readonly", "refuse writes")
    .option("--serial <text>", "serial number that the guest sees, at most 20 characters (default a hash of TARGET)");
  addServeOptions(command).action(async (target: string, raw: RawOptions) => {
    const { parseServeOptions } = await import("./options.ts");
    const { runServe } = await import("./command.ts");
    const { passedSocket } = await import("./activation.ts");
    finish(await runServe(parseServeOptions(target, raw, isNamed(raw) ? null : passedSocket())));
  });
}

/** Gathers the values of an option that may be given again. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function registerScsi(command: Command, finish: (code: ExitCode) => void): void {
  addSocketOptions(command)
    .description("disks as LUNs of a virtio-scsi adapter at a UNIX socket, until SIGINT or SIGTERM")
    .option(
      "--lun <lun>",
      "a disk: [T:]L=TARGET[,serial=TEXT][,wwn=HEX][,rotation=N][,ro]; may be given again",
      collect,
    )
    .option("--control <path>", "socket at which plugio lun adds and removes disks; for this user alone")
    .option("--num-queues <n>", "queues for commands that the guest may use, 1 to 254 (default 64)")
    .option("--workers <n>", "Workers that share those queues, each with rings of its own, 1 to 64 (default 1)")
    .option("--queue-size <n>", "entries of the largest ring, a power of two, 2 to 1024 (default 1024)");
  addServeOptions(command).action(async (raw: RawOptions) => {
    const { parseServeScsiOptions } = await import("./scsi_options.ts");
    const { runServeScsi } = await import("./scsi_command.ts");
    const { passedSocket } = await import("./activation.ts");
    finish(await runServeScsi(parseServeScsiOptions(raw, isNamed(raw) ? null : passedSocket())));
  });
}

function registerNbd(command: Command, finish: (code: ExitCode) => void): void {
  command
    .description("an export of NBD at a socket, for several clients, until SIGINT or SIGTERM")
    .argument("<target>", "file, block device or driver:address")
    .option("--socket <path>", "where clients connect, at most 107 bytes; a stale socket is replaced")
    .option("--listen <host:port>", "the same over TCP; who reaches the port has the disk")
    .option("--export-name <name>", "name of the export (default: the one of clients that name none)")
    .option("--driver <name>", `${DRIVER_NAMES.join(", ")} (default io_uring)`)
    .option("--direct <0|1>", "bypass the page cache; a bare --direct means 1 (default 0)")
    .option("--readonly", "refuse writes")
    .option("--no-lock", "serve an image also while another program has it locked, and lock it for none")
    .option("--format <raw>", "raw: serve the bytes as they are, also of a qcow2 image")
    .option("--batch <mode>", `when requests are submitted: ${DEVICE_BATCH_MODES.join(", ")} (default plug)`)
    .action(async (target: string, raw: RawOptions) => {
      const { parseServeNbdOptions } = await import("./nbd_options.ts");
      const { runServeNbd } = await import("./nbd_command.ts");
      finish(await runServeNbd(parseServeNbdOptions(target, raw)));
    });
}
