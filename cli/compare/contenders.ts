import type { LoadOptions } from "../load/options.ts";
import type { Contender } from "./contender.ts";
import { Fio } from "./fio.ts";
import type { CompareName } from "./names.ts";
import { NodeFs } from "./node_fs.ts";
import { QemuImg } from "./qemu_img.ts";

/** Makes the contender of a name. */
function makeContender(name: CompareName): Contender {
  switch (name) {
    case "fio":
      return new Fio(false);
    case "fio-best":
      return new Fio(true);
    case "qemu-img":
      return new QemuImg();
    case "node-fs":
      return new NodeFs();
  }
}

/** The contenders of a run, each made once. */
type Contenders = ReadonlyMap<CompareName, Contender>;

/** Makes the named contenders and lets each look at the loads. Throws CliError for what one of them cannot express. */
export function makeContenders(names: readonly CompareName[], loads: readonly LoadOptions[]): Contenders {
  const contenders = new Map(names.map((name) => [name, makeContender(name)]));
  for (const contender of contenders.values()) for (const load of loads) contender.check(load);
  return contenders;
}

/** Versions of all contenders, for the context. Throws CliError when one is not installed. */
export async function contenderVersions(contenders: Contenders): Promise<Record<string, string>> {
  const versions: Record<string, string> = {};
  for (const [name, contender] of contenders) versions[name] = await contender.version();
  return versions;
}
