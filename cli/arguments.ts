import { misuse } from "./failure.ts";

/** What Deno puts in the place of bytes that are not UTF-8; the bytes themselves are lost. */
const REPLACEMENT = "\uFFFD";

/** Options that mean 1 when they stand alone, as in fio. */
const SWITCHES: readonly string[] = ["--direct", "--norandommap"];

/** What a caller may take for the value of a switch; a target of such a name is written with its folder, `./yes`. */
const SWITCH_VALUES = /^(?:\d+|yes|no|true|false|on|off)$/i;

/**
 * Brings fio's spelling into the one that the option parser knows: `--ramp_time` becomes `--ramp-time`, and the
 * booleans of {@link SWITCHES} get their value, so that they cannot swallow the target after them. A value that is
 * neither 0 nor 1 goes with its switch, to be refused as one.
 */
export function normalizeArguments(args: readonly string[]): string[] {
  const normalized: string[] = [];
  const lost = args.find((arg) => arg.includes(REPLACEMENT));
  if (lost !== undefined) {
    throw misuse(`Cannot use ${lost}: Deno hands over names in UTF-8 only, wanted a link to it with such a name`);
  }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return [...normalized, ...args.slice(i)];
    const option = withDashes(arg);
    if (!SWITCHES.includes(option)) {
      normalized.push(option);
    } else if (SWITCH_VALUES.test(args[i + 1] ?? "")) {
      normalized.push(`${option}=${args[++i]}`);
    } else {
      normalized.push(`${option}=1`);
    }
  }
  return normalized;
}

function withDashes(arg: string): string {
  if (!arg.startsWith("--")) return arg;
  const end = arg.indexOf("=");
  const name = end < 0 ? arg : arg.slice(0, end);
  return name.replaceAll("_", "-") + arg.slice(name.length);
}
