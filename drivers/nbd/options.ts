import type { OpenOptions } from "../../core/device/backend.ts";
import { FLAG, integer, object, type OptionRules, OptionTable, TEXT } from "../../core/base/options.ts";

/** The schemes of the NBD URI specification. */
export const NBD_SCHEMES: readonly string[] = ["nbd", "nbds", "nbd+unix", "nbds+unix"];

/** How a server is connected to. */
export interface NbdSettings {
  /** Connections, 1 to 16, where the server lets several work on one disk (MULTI_CONN); else one. Default 1. */
  readonly connections?: number;
  /** Name of the export, instead of that of the address. */
  readonly exportName?: string;
  /** Milliseconds that connecting and negotiating may take, 1 or more. Default 10,000. */
  readonly handshakeTimeoutMs?: number;
  /**
   * Milliseconds that requests wait while a lost connection is made anew, 0 to 2^31 − 1. What is in flight is sent once more, but
   * a flush that may have lost writes fails. Default 0: a lost connection breaks the device.
   */
  readonly reconnectMs?: number;
  /** Let the server answer in chunks: reads may then say where they failed. Default false. */
  readonly structuredReplies?: boolean;
  /** Use headers with 64-bit lengths where the server has them; they come with structured replies. Default false. */
  readonly extendedHeaders?: boolean;
}

/** Options of `openDevice` for the driver nbd. */
export interface NbdOptions {
  /** How the server is connected to. */
  readonly nbd?: NbdSettings;
}

/** What the driver is opened with. */
export type NbdOpenOptions = OpenOptions & NbdOptions;

/** What they may be. */
export const NBD_OPTIONS: OptionRules<NbdOptions> = { nbd: object("an object of settings") };

/** Most connections to one server: as many as libnbd's tools take. */
const MAX_CONNECTIONS = 16;

/** Longest time for a timer. */
const MAX_TIMER_MS = 0x7fff_ffff;

const SETTINGS = new OptionTable<NbdSettings>("use nbd with", {
  connections: integer(1, MAX_CONNECTIONS, `an integer from 1 to ${MAX_CONNECTIONS}`),
  exportName: TEXT,
  handshakeTimeoutMs: integer(1, MAX_TIMER_MS, "a whole number of milliseconds, 1 or more"),
  reconnectMs: integer(0, MAX_TIMER_MS, "a whole number of milliseconds, 0 or more"),
  structuredReplies: FLAG,
  extendedHeaders: FLAG,
});

/** Settings with their defaults; an export name only where one is given. */
export type CheckedNbdSettings = Required<Omit<NbdSettings, "exportName">> & Pick<NbdSettings, "exportName">;

/** Checks settings. Throws TypeError and RangeError. */
export function checkNbdSettings(settings: NbdSettings | undefined): CheckedNbdSettings {
  return {
    connections: 1,
    handshakeTimeoutMs: 10_000,
    reconnectMs: 0,
    structuredReplies: false,
    extendedHeaders: false,
    ...SETTINGS.read(settings),
  };
}
