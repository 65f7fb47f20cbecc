/**
 * A child that plays a scene over and over, seen from outside: it is asked, watched, and started anew when it hangs or
 * dies.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Fault } from "./controls.ts";
import { forwarderEnvironment } from "./forwarder.ts";
import { type Verdict, WARM_UP_SCENES } from "./verdict.ts";

/** More than a scene takes on a loaded machine, what it waits for included. */
const HANG_MS = 20_000;

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A verdict, or how the child ended instead of giving one. */
export type Answer = { readonly verdict: Verdict } | { readonly ended: "hang" | "crash"; readonly text: string };

/** What goes on beside a scene, in this process; `isOver` tells that the child has ended it. */
export type Partner = (isOver: () => boolean) => Promise<void>;

/** A child and what is needed to start it. */
export class Player implements AsyncDisposable {
  readonly #module: URL;
  readonly #library: string;
  readonly #args: readonly string[];
  #process: Process | null = null;

  /** `module` is a child of this folder; its first argument is the forwarding library at `library`. */
  constructor(module: URL, library: string, args: readonly string[]) {
    this.#module = module;
    this.#library = library;
    this.#args = args;
  }

  /** Plays the scene with `fault`, in a new process if the last one has ended; `newPartner` plays beside it. */
  async play(fault: Fault | null, newPartner: () => Partner = () => async () => {}): Promise<Answer> {
    if (this.#process === null) {
      this.#process = new Process(this.#module, this.#library, this.#args);
      for (let scene = 0; scene < WARM_UP_SCENES; scene++) {
        const answer = await this.#playOnce(null, newPartner());
        if ("ended" in answer) throw new Error(`Cannot play the scene without a fault: ${answer.text}`);
      }
    }
    return await this.#playOnce(fault, newPartner());
  }

  async #playOnce(fault: Fault | null, partner: Partner): Promise<Answer> {
    let over = false;
    const asked = this.#process!.ask(JSON.stringify(fault)).then(async (answer) => {
      over = true;
      // A leak is the fault of one call only, and what is left may be what the next scenes would use. A child that hangs
      // is ended before the partner is waited for, who may wait for it.
      if ("ended" in answer || answer.verdict.leaks.length > 0) await this[Symbol.asyncDispose]();
      return answer;
    });
    const [answer] = await Promise.all([asked, partner(() => over)]);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const process = this.#process;
    this.#process = null;
    await process?.end();
  }
}

/** One process. */
class Process {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #words: Promise<string>;
  #rest = "";

  constructor(module: URL, library: string, args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-P=test", fileURLToPath(module), library, ...args],
      cwd: ROOT,
      env: forwarderEnvironment(library),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#words = new Response(this.#child.stderr).text();
  }

  async ask(line: string): Promise<Answer> {
    const { promise: late, resolve } = Promise.withResolvers<null>();
    const watchdog = setTimeout(() => resolve(null), HANG_MS);
    try {
      await this.#input.write(new TextEncoder().encode(line + "\n"));
      const answer = await Promise.race([this.#line(), late]);
      if (answer === null) return { ended: "hang", text: `no answer after ${HANG_MS / 1000} s` };
      return { verdict: JSON.parse(answer) as Verdict };
    } catch {
      const { code, signal } = await this.#child.status;
      const words = (await this.#words).trim().split("\n").slice(-3).join(" / ");
      return { ended: "crash", text: `exit code ${code}${signal === null ? "" : `, ${signal}`}: ${words}` };
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** The next line of the child; rejects when there is none any more. */
  async #line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#output.read();
      if (done) throw new Error("The child has ended");
      this.#rest += value;
    }
  }

  /** Ends it by whatever works: it may hang. */
  async end(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    await this.#input.abort().catch(() => {});
    await this.#output.cancel().catch(() => {});
    await this.#words;
  }
}
