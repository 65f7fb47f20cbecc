import type { Command, CommanderError } from "npm:commander@15.1.0";
import { TARGET_ACTIONS } from "./target/options.ts";

/** What is missing, by the name of the argument. */
const MISSING_ARGUMENTS: Readonly<Record<string, string>> = {
  target: "Cannot go on without a target: wanted a path or an address",
  file: "Cannot run without a job file: wanted its path",
  action: `Cannot make a target without knowing which: wanted ${TARGET_ACTIONS.join(", ")}`,
  pci: "Cannot run this without an address: wanted a PCI address, such as 0000:01:00.0",
  folder: "Cannot draw a report without results: wanted a folder that a sweep wrote",
};

/** What the parser says of `command`, in the wording of this project and on one line. */
export function parserMessage(error: CommanderError, command: Command): string {
  const [first = "", ...rest] = error.message.replace(/^error: /, "").split("\n");
  const suggestion = /Did you mean (.+)\?/.exec(rest.join(" "))?.[1];
  const quoted = /'([^']+)'/.exec(first)?.[1] ?? "";
  switch (error.code) {
    case "commander.unknownOption":
      return `Cannot use option ${quoted}: ${unknownOption(quoted, command, suggestion)}`;
    case "commander.unknownCommand":
      return `Cannot run subcommand ${quoted}: it is unknown, wanted ${suggestion ?? subcommandNames(command)}`;
    case "commander.optionMissingArgument":
      return `Cannot use option ${quoted.split(" ")[0]}: it has no value, wanted ${quoted}`;
    case "commander.excessArguments":
      return `Cannot use more than one target: ${first.replace(/^.*got \d+: /, "").replace(/\.$/, "")}, wanted one`;
    case "commander.help":
      return `Cannot run ${command.name()} without a subcommand: wanted ${subcommandNames(command)}`;
    case "commander.missingArgument":
      return MISSING_ARGUMENTS[quoted] ?? `Cannot go on without ${quoted}: wanted it after the subcommand`;
    default:
      return first;
  }
}

/** The subcommands of `command`: `a, b or c`. */
export function subcommandNames(command: Command): string {
  return namesOf(command.commands);
}

function namesOf(commands: readonly Command[]): string {
  const names = commands.map((each) => each.name());
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

/** An option of another subcommand is one that the caller remembers, and no mistyped one. */
function unknownOption(option: string, command: Command, suggestion: string | undefined): string {
  const name = option.replace(/=.*/, "");
  const owners = ownersOf(name, root(command));
  const below = command.commands.filter((each) => owners.includes(pathOf(each)));
  if (below.length > 0) {
    return `it belongs to ${below.map(pathOf).join(", ")}, wanted ${namesOf(below)} before it`;
  }
  if (owners.length > 0) return `it belongs to ${owners.join(", ")}, wanted one that ${pathOf(command)} --help lists`;
  if (command.options.some(({ long }) => long === `-${name}`)) return `it has one dash, wanted -${name}`;
  return `it is unknown, wanted ${suggestion ?? "one that --help lists"}`;
}

function ownersOf(option: string, command: Command): string[] {
  const below = command.commands.flatMap((each) => ownersOf(option, each));
  const isOwn = command.parent !== null && command.options.some(({ long, hidden }) => long === option && !hidden);
  return isOwn ? [pathOf(command), ...below] : below;
}

function root(command: Command): Command {
  return command.parent === null ? command : root(command.parent);
}

/** `serve vhost-user-blk`: the words that lead to a command. */
function pathOf(command: Command): string {
  const before = command.parent === null || command.parent.parent === null ? "" : `${pathOf(command.parent)} `;
  return before + command.name();
}
