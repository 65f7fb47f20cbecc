/**
 * What the cover letter of QEMU's series "block: add blk_io_plug_call() API" (2023) measured: random reads of 4 KiB
 * through virtio-blk and linux-aio, IOPS by depth, one run of 30 s a point.
 *
 * @module
 */

/** IOPS of one depth in the four ways that both the letter and plugio have. */
export interface LetterRow {
  readonly depth: number;
  readonly none: number;
  readonly device: number;
  readonly plug: number;
  readonly dispatch: number;
  /** The letter's own column: thread-local plug against per-device plug. */
  readonly change: string;
}

/** The rows, by depth. IOPS are recomputed from the published raw results. */
export const LETTER_ROWS: readonly LetterRow[] = [
  { depth: 1, none: 48552, device: 47607, plug: 45612, dispatch: 47432, change: "-4%" },
  { depth: 2, none: 86601, device: 85420, plug: 87967, dispatch: 86390, change: "+2%" },
  { depth: 4, none: 133379, device: 131142, plug: 129872, dispatch: 129749, change: "+0%" },
  { depth: 8, none: 156941, device: 177073, plug: 171096, dispatch: 176993, change: "-3%" },
  { depth: 16, none: 155666, device: 204126, plug: 194508, dispatch: 203131, change: "-4%" },
  { depth: 32, none: 154916, device: 211878, plug: 208947, dispatch: 207787, change: "-1%" },
  { depth: 64, none: 155259, device: 217170, plug: 217647, dispatch: 216081, change: "+0%" },
  { depth: 128, none: 151712, device: 229532, plug: 229629, dispatch: 229253, change: "+0%" },
];
