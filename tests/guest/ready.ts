/**
 * Whether this machine can start the guest at all.
 *
 * @module
 */

import { GuestKernel } from "./kernel.ts";
import { findProgram } from "./programs.ts";

/** True, or the reason why no guest can start: for `testWhen`. */
export function guestReady(): true | string {
  if (Deno.build.arch !== "x86_64") return `the guest is an x86-64 machine, and this one is ${Deno.build.arch}`;
  try {
    for (const program of ["qemu-system-x86_64", "setpriv", "busybox"]) findProgram(program);
    new GuestKernel();
    return true;
  } catch (error) {
    return (error as Error).message;
  }
}
