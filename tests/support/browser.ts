import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isOnPath } from "./programs.ts";

/** Without them Chromium looks up its maker's hosts at every start. */
const QUIET = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--hide-scrollbars",
];

/** Milliseconds that a page may take. */
const LIMIT_MS = 60_000;

const UNPACKED = fileURLToPath(new URL("../../.native/bin/chromium", import.meta.url));

/** The browser of this machine, or the one that set-up unpacked; null where there is none. */
export function findBrowser(): string | null {
  if (isOnPath("chromium")) return "chromium";
  try {
    return Deno.statSync(UNPACKED).isFile ? UNPACKED : null;
  } catch {
    return null;
  }
}

/** Opens a page in headless Chromium and returns what it wrote to standard output. Throws when it fails. */
export async function browse(path: string, ...options: string[]): Promise<string> {
  const profile = Deno.makeTempDirSync({ prefix: "plugio-browser-" });
  try {
    const { success, stdout, stderr } = await new Deno.Command(findBrowser()!, {
      args: [...QUIET, `--user-data-dir=${join(profile, "profile")}`, ...options, `file://${path}`],
      stdin: "null",
      signal: AbortSignal.timeout(LIMIT_MS),
    }).output();
    if (!success) throw new Error(`Chromium failed: ${new TextDecoder().decode(stderr).slice(-500)}`);
    return new TextDecoder().decode(stdout);
  } finally {
    Deno.removeSync(profile, { recursive: true });
  }
}
