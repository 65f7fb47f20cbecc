/**
 * The NVMe controllers on which the guest tests run: one as a rule, with `--matrix` more.
 *
 * @module
 */

/** A controller and the machine around it. */
export interface NvmeConfiguration {
  readonly name: string;
  /** Bytes of a block, for each namespace. */
  readonly blocks: readonly number[];
  readonly mdts: number;
  readonly queuePairs: number;
  readonly cpus: number;
}

const STANDARD: NvmeConfiguration = {
  name: "two namespaces of 512 and 4096 bytes, transfers of 32 KiB, 4 queue pairs",
  blocks: [512, 4096],
  mdts: 3,
  queuePairs: 4,
  cpus: 2,
};

const MATRIX: readonly NvmeConfiguration[] = [
  { name: "one namespace, transfers of two pages", blocks: [512], mdts: 1, queuePairs: 64, cpus: 2 },
  { name: "blocks of 4096 bytes alone", blocks: [4096], mdts: 7, queuePairs: 64, cpus: 2 },
  { name: "one queue pair for two processors", blocks: [512], mdts: 7, queuePairs: 1, cpus: 2 },
  { name: "one processor", blocks: [512, 512, 512, 4096], mdts: 7, queuePairs: 2, cpus: 1 },
];

/** True for the long run. */
export const IS_MATRIX: boolean = Deno.args.includes("--matrix");

/** The configurations of this run, the standard one first. */
export const NVME_CONFIGURATIONS: readonly NvmeConfiguration[] = IS_MATRIX ? [STANDARD, ...MATRIX] : [STANDARD];
