/**
 * What a target says of its driver: `driver:address`, or a path.
 *
 * @module
 */
import { pathText } from "../core/system/target_path.ts";
import { DEFAULT_DRIVER, driverNamed, driverOfScheme } from "./built_in.ts";
import type { DriverDescriptor } from "./descriptor.ts";

/** A target, taken apart. */
export interface SplitTarget {
  /** The driver that opens it. */
  readonly driver: DriverDescriptor;
  /** What that driver takes. */
  readonly address: string;
}

/**
 * The driver of plugio's own whose name stands before the target's first colon, or whose URI the target is. A path may hold a
 * colon of its own.
 */
export function driverOfPrefix(target: string): DriverDescriptor | undefined {
  const colon = target.indexOf(":");
  return colon < 0 ? undefined : driverOfUri(target) ?? driverNamed(target.slice(0, colon));
}

/** The driver whose URI the target is. */
function driverOfUri(target: string): DriverDescriptor | undefined {
  const scheme = SCHEME.exec(target)?.[1];
  return scheme === undefined ? undefined : driverOfScheme(scheme.toLowerCase());
}

/** Scheme of a URI with an authority, or with an empty one. */
const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;

/** Why `driver` cannot open a target that another driver's name stands before, or null. */
export function prefixConflict(target: string, driver: DriverDescriptor): string | null {
  const { name } = driverOfPrefix(target) ?? driver;
  if (name === driver.name || driver.addressPrefixes?.includes(name)) return null;
  return `its prefix names driver ${name}`;
}

/** Takes a target apart; a driver that was chosen takes all that does not begin with its own name as an address. */
export function splitTarget(target: string, chosen?: DriverDescriptor): SplitTarget {
  const driver = chosen ?? driverOfPrefix(target) ?? DEFAULT_DRIVER;
  const prefix = `${driver.name}:`;
  if (driver.schemes !== undefined && driverOfUri(target) === driver) return { driver, address: target };
  return { driver, address: target.startsWith(prefix) ? target.slice(prefix.length) : target };
}

/** The path or address that a target leads to, without the names of drivers before it. */
export function pathOfTarget(target: string | URL): string {
  const { driver, address } = splitTarget(pathText(target, "read"));
  return driver.pathOf?.(address) ?? address;
}
