/** Whether stacks are wanted: PLUGIO_DEBUG=1. Without permission to look, they are not. */
export function debugWanted(): boolean {
  try {
    return Deno.env.get("PLUGIO_DEBUG") === "1";
  } catch {
    return false;
  }
}
