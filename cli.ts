/**
 * The command line of plugio: `deno run -P cli.ts randread [TARGET]`, and `--help` for the rest.
 *
 * @module
 */
import { main } from "./cli/main.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
