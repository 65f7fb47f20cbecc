import { StorageError } from "../core/base/errors.ts";

/** Whether this is Deno: on Node.js and Bun the modules load, so that what they say is a line and not a stack. */
export const IS_DENO: boolean = typeof Deno !== "undefined";

/** The processor, as Deno names it; `""` where there is no Deno. */
export const ARCH: string = IS_DENO ? Deno.build.arch : "";

/** Throws StorageError of kind `library` where foreign functions are not Deno's. */
export function assertDeno(library: string): void {
  if (IS_DENO) return;
  const runtime = (globalThis as { readonly navigator?: { readonly userAgent?: string } }).navigator?.userAgent;
  throw new StorageError({
    kind: "library",
    op: "load",
    target: library,
    detail: `this is ${
      runtime ?? "another runtime"
    }, whose foreign functions plugio does not know; wanted Deno 2.9 or later`,
  });
}
