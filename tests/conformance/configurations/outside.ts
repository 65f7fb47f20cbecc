/**
 * A device given from outside, by the variable PLUGIO_CONFORMANCE_TARGET: everything on it is overwritten.
 * PLUGIO_CONFORMANCE_OPTIONS may hold options of `openDevice` as JSON.
 *
 * @module
 */
import { type DeviceOptions, openDevice } from "../../../mod.ts";
import { pattern } from "../../support/temp_file.ts";
import type { Configuration, MadeTarget, TargetRequest } from "../configuration.ts";

/** Bytes written at once while a target is filled. */
const FILL_BYTES = 1 << 20;

/** The variables that name a device, and the options to open it with. */
const TARGET_VARIABLE = "PLUGIO_CONFORMANCE_TARGET";
const OPTIONS_VARIABLE = "PLUGIO_CONFORMANCE_OPTIONS";

/** The device that the environment names, or null. */
export function outsideTarget(): string | null {
  return Deno.env.get(TARGET_VARIABLE) || null;
}

async function fill(
  target: string,
  options: DeviceOptions,
  { byteLength, content }: TargetRequest,
): Promise<MadeTarget> {
  await using device = await openDevice(target, options);
  if (device.info.kind === "file") throw new Error(`Cannot use the regular file ${target}: wanted a device`);
  if (device.size < byteLength) {
    throw new Error(`Cannot use ${target} of ${device.size} bytes: wanted ${byteLength}`);
  }
  for (let at = 0; at < byteLength; at += FILL_BYTES) {
    const length = Math.min(FILL_BYTES, byteLength - at);
    await device.write(content === "pattern" ? pattern(at, length) : new Uint8Array(length), at);
  }
  return { target, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** The configuration of `target`, which may start with a driver's name and a colon. */
export function outsideConfiguration(target: string): Configuration {
  const fixed = "the device was given from outside and has a fixed size";
  const options = JSON.parse(Deno.env.get(OPTIONS_VARIABLE) || "{}") as DeviceOptions;
  return {
    name: target,
    driver: /^(\w+):/.exec(target)?.[1] ?? "io_uring",
    ready: true,
    isOutside: true,
    options,
    lacks: {
      growing: fixed,
      "any size": fixed,
      "large targets": fixed,
      "far targets": fixed,
      paths: "there is one target",
      "two devices": "it may be claimed by the first",
    },
    make: (request) => fill(target, options, request),
  };
}
