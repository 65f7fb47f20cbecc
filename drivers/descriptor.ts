/**
 * What a driver is to the rest of the house: a value, with a name, targets, options of its own and a way to open them.
 *
 * @module
 */
import type { Backend, OpenOptions } from "../core/device/backend.ts";
import type { OptionRule, OptionRules } from "../core/base/options.ts";
import { shown } from "../core/base/shown.ts";
import type { DriverReport } from "./probe/report.ts";

/** How a driver is tried. */
export interface ProbeContext {
  /** Release of the kernel, as uname(2) has it. */
  readonly kernel: string;
  /** False in sandboxes that end a process for a system call of io_uring. */
  readonly touchUring: boolean;
}

/**
 * A driver. `Own` are the options that it adds to those of every driver.
 *
 * A value of this type is what `openDevice` takes as `driver`. It is plain data and cheap to load: `open` and `probe` may
 * import what they need when they are called. A driver is used in the Worker that imports it.
 *
 * @example
 * ```ts
 * import { openDevice } from "../mod.ts";
 * import { type DriverDescriptor, openBackend } from "./driver.ts";
 *
 * const readOnly: DriverDescriptor = {
 *   name: "read_only",
 *   open: (address, options) => openBackend(address, { ...options, readOnly: true }),
 * };
 * await using disk = await openDevice("deno.json", { driver: readOnly });
 * console.assert(disk.info.readOnly);
 * ```
 */
export interface DriverDescriptor<Own extends object = object> {
  /** In messages and before a colon in targets: letters, digits and underscores. */
  readonly name: string;
  /** True where the plain path of a file or a block device is a target. Absent means false: addresses only. */
  readonly takesPath?: boolean;
  /** Names that may stand before an address: they belong to it, also where a driver is called so. Absent: none. */
  readonly addressPrefixes?: readonly string[];
  /** Schemes of URIs that are its addresses as they stand, the scheme included. Absent: none. */
  readonly schemes?: readonly string[];
  /** A target as it is written, the driver's name included. */
  readonly example?: string;
  /** A rule for each option of its own; an option without one is refused. Absent: it has none. */
  readonly options?: OptionRules<Own>;
  /** Full names of the diagnostics channels on which it publishes. */
  readonly traceEvents?: readonly string[];
  /** The path behind an address, for those who look at it without the driver. Absent: the address itself. */
  pathOf?(address: string): string;
  /**
   * Opens what stands behind the driver's name in a target; all options have been checked. Rejects with StorageError, or
   * RangeError for an address that makes no sense. Nothing stays open then.
   */
  open(address: string, options: OpenOptions & Own): Backend | Promise<Backend>;
  /** Finds out whether the driver works here; a driver that does not is an answer, not an error. */
  probe?(context: ProbeContext): Promise<DriverReport>;
}

/** What can stand before the colon of a target. */
const NAME = /^[a-z]\w*$/i;

/** Fields of a descriptor that may be absent, and their types. */
const FIELDS: readonly (readonly [name: keyof DriverDescriptor, wanted: string, is: (value: unknown) => boolean])[] = [
  ["takesPath", "true or false", (value) => typeof value === "boolean"],
  ["addressPrefixes", "an array", Array.isArray],
  ["schemes", "an array", Array.isArray],
  ["example", "a string", (value) => typeof value === "string"],
  ["options", "an object of rules", isRules],
  ["traceEvents", "an array", Array.isArray],
  ["pathOf", "a function", isFunction],
  ["probe", "a function", isFunction],
];

/** Throws a TypeError for what is no descriptor of a driver, with the field that is wrong. */
export function assertDescriptor(value: object): asserts value is DriverDescriptor {
  const fields = value as Partial<Record<keyof DriverDescriptor, unknown>>;
  const { name } = fields;
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new TypeError(
      `Cannot use driver ${shown(value)} with name ${shown(name)}: wanted letters, digits and underscores`,
    );
  }
  const refuse = (field: string, wanted: string, found: unknown) =>
    new TypeError(`Cannot use driver ${name} with ${field} ${shown(found)}: wanted ${wanted}`);
  if (!isFunction(fields.open)) throw refuse("open", "a function", fields.open);
  for (const [field, wanted, is] of FIELDS) {
    const found = fields[field];
    if (found !== undefined && !is(found)) throw refuse(field, wanted, found);
  }
}

/** Throws a TypeError where a driver has opened something that is no backend. */
export function assertBackend(value: unknown, driver: string): asserts value is Backend {
  const { enqueue, close } = Object(value) as Partial<Record<keyof Backend, unknown>>;
  if (isFunction(enqueue) && isFunction(close)) return;
  throw new TypeError(`Cannot use driver ${driver}: its open returned ${shown(value)}, wanted a Backend`);
}

function isRules(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).every((rule) => {
    const { wanted, isType, isInRange } = Object(rule) as Partial<OptionRule>;
    return typeof wanted === "string" && isFunction(isType) && (isInRange === undefined || isFunction(isInRange));
  });
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}
