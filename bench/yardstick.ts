/**
 * libblkio's own benchmark in its event loop mode, the client of the tables of docs/blkio.md and docs/serve.md.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Where the example's source may lie: unpacked by set-up, or installed. */
const SOURCES = [
  join(ROOT, ".native/unpacked/libblkio-headers/usr/share/doc/libblkio-dev/examples/blkio-bench.c"),
  "/usr/share/doc/libblkio-dev/examples/blkio-bench.c",
];

/** What it reads: a driver of libblkio and its properties, each as `name=value`. */
export interface YardstickRun {
  readonly driver: string;
  readonly properties: readonly string[];
  readonly depth: number;
  readonly seconds: number;
}

/** blkio-bench, compiled. */
export class Yardstick {
  readonly #program: string;

  private constructor(program: string) {
    this.#program = program;
  }

  /** Compiles it into `folder`, from the source that the package libblkio-dev brings as an example. */
  static async build(folder: string): Promise<Yardstick> {
    const source = SOURCES.find((path) => exists(path));
    if (source === undefined) throw new Error(`Cannot build blkio-bench: wanted ${SOURCES.join(" or ")}`);
    const program = join(folder, "blkio-bench");
    const local = join(ROOT, ".native/lib");
    const libraries = exists(join(local, "libblkio.so.1")) ? ["-L", local, `-Wl,-rpath,${local}`] : [];
    const { success, stderr } = await new Deno.Command("cc", {
      args: [
        ...["-O2", "-D_GNU_SOURCE", "-o", program, source, "-I", join(ROOT, ".native/include")],
        ...[...libraries, "-l:libblkio.so.1", "-lpthread"],
      ],
    }).output();
    if (!success) throw new Error(`Cannot build blkio-bench: ${new TextDecoder().decode(stderr)}`);
    return new Yardstick(program);
  }

  /** Random reads of 4 KiB; returns IOPS. */
  async run({ driver, properties, depth, seconds }: YardstickRun): Promise<number> {
    const { success, stdout, stderr } = await new Deno.Command(this.#program, {
      args: [
        ...[`--iodepth=${depth}`, "--readwrite=randread", "--blocksize=4096", `--runtime=${seconds}`],
        ...[driver, ...properties],
      ],
    }).output();
    if (!success) throw new Error(`Cannot measure blkio-bench: ${new TextDecoder().decode(stderr)}`);
    const report: { aggregate: { kiops: number } } = JSON.parse(new TextDecoder().decode(stdout));
    return report.aggregate.kiops * 1000;
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
