/** What a unit is, as its pages tell it. */
export interface UnitFacts {
  /** Bytes of a block: 512 or more. */
  readonly blockBytes: number;
  /** Bytes that had better be written whole. */
  readonly physicalBlockBytes: number;
  /** Blocks of the unit now. */
  readonly blocks: number;
  /** Writes are refused. */
  readonly readOnly: boolean;
  /** Ranges can be given back. */
  readonly discards: boolean;
  /** And read as zeroes then, for certain. */
  readonly zeroesDiscarded: boolean;
  /** Bytes that are given back at a time, at best. */
  readonly discardBytes: number;
  /** 0 for nothing said, 1 for a disk that does not turn, else revolutions a minute. */
  readonly rotation: number;
  /** 1 to 36 ASCII characters. */
  readonly serial: string;
  /** A name by NAA: 16 hexadecimal digits. */
  readonly wwn: string;
}

/** Blocks of one transfer: what READ(10) can say. */
export const MAX_TRANSFER_BLOCKS = 65_535;
/** Blocks of one UNMAP: libiscsi takes more for a mistake. */
export const MAX_UNMAP_BLOCKS = 0x10_0000;
/** Blocks of one WRITE SAME: what one READ can bring, so that a program can look at all of it at once. */
export const MAX_SAME_BLOCKS: number = MAX_TRANSFER_BLOCKS;
/** Ranges of one UNMAP: they fit 4 KiB with their header. */
export const MAX_UNMAP_RANGES = 255;
