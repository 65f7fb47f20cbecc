/**
 * Brings fio's spelling into the one that the option parser knows: `--ramp_time` becomes `--ramp-time`, and the
 * boolean `--direct` gets its value, so that it cannot swallow the target after it.
 */
export function normalizeArguments(args: readonly string[]): string[] {
  const normalized: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return [...normalized, ...args.slice(i)];
    const option = withDashes(arg);
    if (option !== "--direct") {
      normalized.push(option);
    } else if (args[i + 1] === "0" || args[i + 1] === "1") {
      normalized.push(`--direct=${args[++i]}`);
    } else {
      normalized.push("--direct=1");
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
