/**
 * What the campaign's children have in common: they take a fault a line, play their scene with it, look whether
 * anything is left behind, and answer with a verdict a line.
 *
 * @module
 */
import type { Fault, FaultControls } from "./controls.ts";
import { grown, type Holdings } from "./holdings.ts";
import type { Findings } from "./scenario.ts";

/** What became of one fault. */
export interface Verdict {
  /** Calls that failed on purpose. */
  readonly hits: number;
  /** Calls of each function; only for a scene without a fault. */
  readonly calls?: Record<string, number>;
  /** Errors that were reported as they should be. */
  readonly errors: readonly string[];
  /** What must not be: wrong data, errors that say nothing, second completions. */
  readonly wrong: readonly string[];
  /** What is held afterwards and was not before. */
  readonly leaks: readonly string[];
  /** Lines of the server's log. */
  readonly said: readonly string[];
}

/** What a child plays. */
export interface Scene {
  /** Plays it; `fault` is what fails, or null. */
  play(fault: Fault | null): Promise<Findings>;
  held(): Holdings;
}

/** Scenes without a fault that a new child has to play first: what they leave for the next ones is no leak. */
export const WARM_UP_SCENES = 2;

/** Looks at what is held until it is no more than before, for what ends a little later: sockets, rings of the kernel. */
const SETTLE_MS = 1_000;
const SETTLE_STEP_MS = 5;

const say = (value: unknown) => void Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(value) + "\n"));

/** Serves faults from standard input until it ends: a {@link Fault} a line, `null` for none, each answered by a line. */
export async function serveFaults(controls: FaultControls, scene: Scene): Promise<void> {
  const uncaught = collectUncaught();
  makeSignalSockets();
  let before: Holdings = {};
  let played = 0;
  for await (const line of lines()) {
    const fault = JSON.parse(line) as Fault | null;
    controls.arm(fault);
    const { errors, wrong, said } = await scene.play(fault);
    controls.disarm();
    const { hits } = controls;
    const calls = fault === null ? { calls: controls.calls() } : {};
    await pause(0);
    if (played++ < WARM_UP_SCENES) before = await warm(scene);
    const leaks = await leftOver(scene, before);
    say({ hits, ...calls, errors, wrong: [...wrong, ...uncaught.splice(0)], leaks, said } satisfies Verdict);
  }
}

/** Errors that no caller has seen. */
function collectUncaught(): string[] {
  const uncaught: string[] = [];
  const note = (event: ErrorEvent | PromiseRejectionEvent) => {
    event.preventDefault();
    const error = "reason" in event ? event.reason : event.error;
    uncaught.push(`uncaught: ${error instanceof Error ? error.stack : error}`);
  };
  globalThis.addEventListener("error", note);
  globalThis.addEventListener("unhandledrejection", note);
  return uncaught;
}

/** The runtime makes a socket pair of its own for signals, when it first wants one. */
function makeSignalSockets(): void {
  const ignore = () => {};
  Deno.addSignalListener("SIGUSR2", ignore);
  Deno.removeSignalListener("SIGUSR2", ignore);
}

async function warm(scene: Scene): Promise<Holdings> {
  await pause(50);
  return scene.held();
}

async function leftOver(scene: Scene, before: Holdings): Promise<string[]> {
  for (let waitedMs = 0;; waitedMs += SETTLE_STEP_MS) {
    const leaks = grown(before, scene.held());
    if (leaks.length === 0 || waitedMs >= SETTLE_MS) return leaks;
    await pause(SETTLE_STEP_MS);
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function* lines(): AsyncGenerator<string> {
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}
