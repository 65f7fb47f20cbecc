/**
 * The properties of libblkio (blkio(3)): which exist, when they can be set, and what the user's choice becomes.
 *
 * @module
 */
import { Errno } from "../../core/base/errno.ts";
import type { StorageError } from "../../core/base/errors.ts";
import { type Blkio, blkioError, BlkioFailure, type BlkioState } from "../../ffi/libblkio/mod.ts";
import type { BlkioOpenOptions } from "./options.ts";

/** Properties that can be set, and in which state. Some drivers lack some of them. */
const SETTABLE: Readonly<Record<string, BlkioState>> = {
  // No prototype, here and below: what every object has is no property of libblkio's.
  __proto__: null!,
  "direct": "created",
  "fd": "created",
  "path": "created",
  "read-only": "created",
  "num-entries": "connected",
  "num-poll-queues": "connected",
  "num-queues": "connected",
  "queue-size": "connected",
};

/** Properties that follow from target and options, and what to use in their place. */
const GIVEN: Readonly<Record<string, string>> = {
  __proto__: null!,
  driver: "a target such as blkio:io_uring:PATH",
  path: "a target such as blkio:io_uring:PATH",
  fd: "a target such as blkio:io_uring:PATH",
};

/** What the user asked for, taken apart. */
export interface PropertyPlan {
  /** The options, with what `direct` and `read-only` among the properties say. */
  readonly options: BlkioOpenOptions;
  /** Properties to set, names and values as text. */
  readonly settings: readonly (readonly [name: string, value: string])[];
}

/**
 * Takes the properties of `options.blkio` apart. Throws a RangeError for those that target and options decide, and a
 * TypeError for values that are neither text, number nor boolean.
 */
export function planProperties(options: BlkioOpenOptions): PropertyPlan {
  const { blkio = {} } = options;
  let { direct, readOnly } = options;
  const settings: [string, string][] = [];
  for (const [name, value] of Object.entries(blkio)) {
    if (!["string", "number", "boolean"].includes(typeof value)) {
      throw new TypeError(`Cannot set property ${name} to ${typeof value}: wanted a string, a number or a boolean`);
    }
    const instead = GIVEN[name];
    if (instead !== undefined) throw new RangeError(`Cannot set property ${name}: wanted ${instead}`);
    if (name === "direct") direct = agreed(name, "direct", String(value), direct);
    else if (name === "read-only") readOnly = agreed(name, "readOnly", String(value), readOnly);
    else settings.push([name, String(value)]);
  }
  return {
    options: {
      ...options,
      ...(direct === undefined ? {} : { direct }),
      ...(readOnly === undefined ? {} : { readOnly }),
    },
    settings,
  };
}

/** The value of a property that is an option as well: the two must not contradict each other. */
function agreed(property: string, option: string, value: string, chosen: boolean | undefined): boolean {
  if (value !== "true" && value !== "false") {
    throw new RangeError(`Cannot set property ${property} to ${value}: wanted true or false`);
  }
  const wanted = value === "true";
  if (chosen === undefined || chosen === wanted) return wanted;
  throw new RangeError(`Cannot set property ${property} to ${value} with ${option}: ${chosen}: wanted one of the two`);
}

/** Sets those of `settings` that can be set in the instance's state; returns those for the next one. */
export function applyProperties(blkio: Blkio, settings: PropertyPlan["settings"]): PropertyPlan["settings"] {
  return settings.filter(([name, value]) => {
    if (blkio.state === "created" && SETTABLE[name] === "connected" && knows(blkio, name)) return true;
    try {
      blkio.set(name, value);
      return false;
    } catch (error) {
      if (!(error instanceof BlkioFailure)) throw error;
      // A property that the table does not have yet: libblkio says "must be connected".
      if (blkio.state === "created" && error.errno === Errno.ENODEV) return true;
      throw propertyError(blkio, error, name, value);
    }
  });
}

/** Sets one property. Throws StorageError of kind `unsupported` that says what is wrong with name, value or state. */
export function setProperty(blkio: Blkio, name: string, value: string): void {
  try {
    blkio.set(name, value);
  } catch (error) {
    if (error instanceof BlkioFailure) throw propertyError(blkio, error, name, value);
    throw error;
  }
}

function propertyError(blkio: Blkio, failure: BlkioFailure, name: string, value: string): StorageError {
  const hint = hintFor(blkio, failure.errno, name);
  const op = `set property ${name} to ${value} of`;
  const { driver } = blkio;
  return blkioError(failure, { kind: "unsupported", op, target: driver, ...hint === null ? {} : { hint } });
}

function hintFor(blkio: Blkio, errno: number, name: string): string | null {
  const state = SETTABLE[name];
  switch (errno) {
    case Errno.ENOENT: {
      const others = Object.keys(SETTABLE).filter((other) => !(other in GIVEN) && knows(blkio, other));
      return `wanted one of ${others.join(", ")}`;
    }
    case Errno.EACCES:
      return "it can be read only";
    case Errno.EBUSY:
    case Errno.ENODEV:
      return state === undefined ? `the instance is ${blkio.state}` : `it is ${blkio.state}; wanted state ${state}`;
    default:
      return null;
  }
}

/** Whether the driver has the property, set or not. */
function knows(blkio: Blkio, name: string): boolean {
  try {
    blkio.get(name);
    return true;
  } catch (error) {
    if (!(error instanceof BlkioFailure)) throw error;
    return error.errno !== Errno.ENOENT;
  }
}
