import { delimiter, join } from "node:path";

/** Whether a program of this name is there to be started. */
export function isOnPath(name: string): boolean {
  const folders = (Deno.env.get("PATH") ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.some((folder) => {
    try {
      return Deno.statSync(join(folder, name)).isFile;
    } catch {
      return false;
    }
  });
}
