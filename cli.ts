/**
 * The command line of plugio: `deno run -P cli.ts randread [TARGET]`, and `--help` for the rest.
 *
 * @module
 */
import process from "node:process";

if (import.meta.main) {
  if (typeof Deno === "undefined") {
    process.stderr.write("Cannot run plugio: it calls native libraries through Deno, wanted deno run -P cli.ts\n");
    process.exitCode = 1;
  } else {
    const { main } = await import("./cli/main.ts");
    Deno.exit(await main(Deno.args));
  }
}
