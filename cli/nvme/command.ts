import type { Command } from "npm:commander@15.1.0";
import {
  type BindOutcome,
  type Diagnosis,
  nvmeBind,
  nvmeDoctor,
  nvmeIdentify,
  nvmeList,
  nvmeSmart,
  nvmeUnbind,
} from "../../drivers/nvme_tools.ts";
import { ExitCode } from "../exit_codes.ts";
import { outputIsTerminal, writeNotice, writeOutput } from "../terminal.ts";
import { diagnosisText } from "./doctor_text.ts";

/** Adds the subcommands of `plugio nvme` to `nvme`; `prepare` makes a command behave like the others. */
export function addNvmeCommands(
  nvme: Command,
  prepare: (command: Command) => Command,
  finish: (code: ExitCode) => void,
): void {
  const add = (name: string, description: string, action: (address: string) => ExitCode | Promise<ExitCode>) => {
    prepare(nvme.command(name)).description(description).argument("<pci>", "PCI address, such as 0000:01:00.0")
      .action(async (address: string) => finish(await action(address)));
  };
  prepare(nvme.command("doctor"))
    .description("what stands in the way of driving a controller from user space, and how to mend it")
    .argument("[pci]", "PCI address; all NVMe controllers without one")
    .action((address?: string) => finish(printDiagnoses(nvmeDoctor(address))));
  add("bind", "take a controller from the kernel: bind it to vfio-pci", (address) => printBound(address, nvmeBind));
  add("unbind", "give a controller back to the kernel's driver", (address) => printBound(address, nvmeUnbind));
  prepare(nvme.command("list"))
    .description("all namespaces of all controllers")
    .action(async () => finish(await printList()));
  add("id", "what a controller says of itself, as nvme id-ctrl prints it", (address) => print(nvmeIdentify(address)));
  add("smart", "the health of a controller, as nvme smart-log prints it", (address) => print(nvmeSmart(address)));
}

function printDiagnoses(diagnoses: readonly Diagnosis[]): ExitCode {
  writeOutput(diagnosisText(diagnoses, outputIsTerminal()));
  const isClear = diagnoses.every(({ findings }) => findings.every(({ obstacle }) => !obstacle));
  return isClear ? ExitCode.ok : ExitCode.failed;
}

function printBound(address: string, bind: (address: string) => BindOutcome): ExitCode {
  const { driver, changed } = bind(address);
  writeOutput(`${address} is ${changed ? "now" : "already"} bound to ${driver ?? "no driver"}\n`);
  return ExitCode.ok;
}

async function print(text: Promise<string>): Promise<ExitCode> {
  writeOutput(await text);
  return ExitCode.ok;
}

async function printList(): Promise<ExitCode> {
  const { text, failures } = await nvmeList();
  writeOutput(text);
  for (const failure of failures) writeNotice(failure);
  return failures.length === 0 ? ExitCode.ok : ExitCode.failed;
}
