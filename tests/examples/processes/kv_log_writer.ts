/**
 * Fills a key-value log until it is killed: `kv_log_writer.ts PATH PREFIX DIRECT COMPACT`.
 *
 * Says what it knows, a line each, written before anything else happens: `+KEY` for a set that was acknowledged, `~KEY`
 * for a delete that begins, `-KEY` for one that was acknowledged, `=NAME N` for an acknowledged overwrite.
 */
import { KvLog } from "../../../examples/kv_log/mod.ts";
import { bytes, pattern } from "../support.ts";

const LANES = 16;
const SETS_PER_COMPACTION = 20;

const [path, prefix, direct, compact] = Deno.args as [string, string, string, string];

function say(line: string): void {
  const text = bytes(line + "\n");
  for (let done = 0; done < text.length;) done += Deno.stdout.writeSync(text.subarray(done));
}

const log = await KvLog.open(path, { direct: direct === "true", growBytes: 65_536 });

async function fill(lane: number): Promise<never> {
  for (let n = 0;; n++) {
    const key = `${prefix}/${lane}/${n}`;
    await log.set(key, pattern(((n * 997) + lane) % 3000, n));
    say(`+${key}`);
    const counter = `${prefix}/counter ${lane}`;
    await log.set(counter, bytes(`${n}`));
    say(`=${counter} ${n}`);
    if (n % 3 === 2) {
      say(`~${key}`);
      await log.delete(key);
      say(`-${key}`);
    }
    if (compact === "true" && lane === 0 && n % SETS_PER_COMPACTION === 0) await log.compact();
  }
}

await Promise.all(Array.from({ length: LANES }, (_, lane) => fill(lane)));
