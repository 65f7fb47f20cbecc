/** Imports and does nothing. */
import { openDevice } from "../../../mod.ts";

Deno.stdout.writeSync(new TextEncoder().encode(typeof openDevice + "\n"));
