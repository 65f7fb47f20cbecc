import type { Command } from "npm:commander@15.1.0";
import type { ExitCode } from "../exit_codes.ts";
import { misuse } from "../failure.ts";

/** Gives `command` the options of `plugio report` and what to do with them. */
export function registerReport(command: Command, finish: (code: ExitCode) => void): void {
  command
    .description("draw the results of a sweep: one HTML page, SVG files and Markdown in its folder")
    .argument("<folder>", "what plugio sweep wrote")
    .option("--compare <folder>", "an older sweep to stand beside it")
    .action(async (folder: string, raw: { readonly compare?: string }) => {
      if (raw.compare === "" || folder === "") throw misuse('Cannot read results "": wanted a folder');
      const { runReport } = await import("./command.ts");
      finish(await runReport({ folder, compare: raw.compare ?? null }));
    });
}
