/**
 * A Worker that obeys one command a message and answers each with its plug depth and how often its call ran.
 * The count lives in shared memory, so that a test can read it after the Worker is gone.
 */
import { plug, plugCall, plugDepth, unplug } from "../../../core/plug/plug.ts";

/** What the test sends. */
export type PlugCommand =
  | { readonly op: "setup"; readonly ran: SharedArrayBuffer }
  | { readonly op: "plug" | "call" | "unplug" | "close" };

/** What the Worker answers. */
export interface PlugAnswer {
  readonly depth: number;
  readonly ran: number;
}

interface WorkerScope {
  onmessage: ((event: MessageEvent<PlugCommand>) => void) | null;
  postMessage(message: PlugAnswer): void;
  close(): void;
}

const scope = globalThis as unknown as WorkerScope;
let ran = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
const count = (): void => void Atomics.add(ran, 0, 1);
const queue = {};

scope.onmessage = ({ data }) => {
  if (data.op === "setup") ran = new Int32Array(data.ran);
  if (data.op === "plug") plug();
  if (data.op === "call") plugCall(count, queue);
  if (data.op === "unplug") unplug();
  scope.postMessage({ depth: plugDepth(), ran: Atomics.load(ran, 0) });
  if (data.op === "close") scope.close();
};
