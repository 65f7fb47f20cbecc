/** Takes Deno away, as on Node.js and Bun, before anything of plugio is loaded. Deno's own modules need it while they load. */
import "node:crypto";
import "node:diagnostics_channel";
import "node:net";
import "node:path";
import "node:process";

delete (globalThis as { Deno?: unknown }).Deno;
