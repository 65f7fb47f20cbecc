/**
 * Variables of the dynamic linker (ld.so(8)), set to nothing for a program that is started: Deno lets only those with
 * every permission hand them on, and an empty one counts as none, to Deno and to the linker.
 */
export const NO_LOADER_VARIABLES: Readonly<Record<string, string>> = {
  LD_LIBRARY_PATH: "",
  LD_PRELOAD: "",
  LD_AUDIT: "",
  LD_BIND_NOW: "",
  LD_DEBUG: "",
  LD_DEBUG_OUTPUT: "",
};
