import { createHash } from "node:crypto";
import { BlockDevice } from "../../core/device/block_device.ts";
import { FLAG, integer, number, OptionTable, TEXT } from "../../core/base/options.ts";
import { isA, shown } from "../../core/base/shown.ts";
import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { shownBytes } from "../disk/mod.ts";
import { MAX_LUN, MAX_TARGET, type UnitFacts } from "../virtio_scsi/mod.ts";
import { defaultSerial } from "./serial.ts";

/** Where a disk of an adapter is found. */
export interface ScsiAddress {
  /** 0 to 255. Default 0. */
  readonly target?: number;
  /** 0 to 255. */
  readonly lun: number;
}

/** A disk of an adapter, and what it says of itself. */
export interface ScsiLun extends ScsiAddress {
  /** The open disk. It stays the caller's, and open for as long as it is served. */
  readonly device: BlockDevice;
  /** 1 to 36 printable ASCII characters, another for each disk. Default a hash of what is served. */
  readonly serial?: string;
  /** A name by NAA: 16 hexadecimal digits that begin with 2, 3 or 5. Default one made of the serial. */
  readonly wwn?: string;
  /** 0 for nothing said, 1 for a disk that does not turn, 1025 to 65534 revolutions a minute. Default 0. */
  readonly rotation?: number;
  /** Refuse the guest's writes, also where the disk would take them. Default false. */
  readonly readOnly?: boolean;
  /** Bytes of the blocks that the guest is shown, a power of two from 512 to 65,536. Default 512. */
  readonly logicalBlockSize?: number;
  /** Bytes that the guest had better write whole. Default the blocks of the disk, or the guest's, whichever are larger. */
  readonly physicalBlockSize?: number;
}

/** A disk with everything said. */
export interface CheckedLun {
  readonly target: number;
  readonly lun: number;
  readonly device: BlockDevice;
  readonly facts: UnitFacts;
}

const MAX_BLOCK_BYTES = 65_536;
const SERIAL = /^[\x20-\x7e]{1,36}$/;
const WWN = /^[235][0-9a-f]{15}$/;
/** Revolutions a minute that a disk can say; below are codes. */
const MIN_RPM = 0x401;
const MAX_RPM = 0xfffe;
/** The kind of names by NAA that no authority gives out. */
const LOCAL_NAME = "3";
const NAME_DIGITS = 16;

const BLOCK_SIZE = number(
  `a power of two from ${SECTOR_BYTES} to ${MAX_BLOCK_BYTES}`,
  (size) => size >= SECTOR_BYTES && size <= MAX_BLOCK_BYTES && Number.isInteger(Math.log2(size)),
);

const ADDRESS_RULES = {
  target: integer(0, MAX_TARGET, `an integer from 0 to ${MAX_TARGET}`),
  lun: integer(0, MAX_LUN, `an integer from 0 to ${MAX_LUN}`),
};

const ADDRESS_TABLE = new OptionTable<ScsiAddress>("find a LUN with", ADDRESS_RULES);

const LUN_TABLE = new OptionTable<ScsiLun>("serve a LUN with", {
  ...ADDRESS_RULES,
  device: { wanted: "a BlockDevice", isType: (value) => isA(value, BlockDevice) },
  serial: { ...TEXT, wanted: "1 to 36 ASCII characters", isInRange: (text: string) => SERIAL.test(text) },
  wwn: {
    ...TEXT,
    wanted: "16 hexadecimal digits that begin with 2, 3 or 5",
    isInRange: (text: string) => WWN.test(text),
  },
  rotation: number(
    `0, 1 or ${MIN_RPM} to ${MAX_RPM}`,
    (rpm) => rpm === 0 || rpm === 1 || (Number.isInteger(rpm) && rpm >= MIN_RPM && rpm <= MAX_RPM),
  ),
  readOnly: FLAG,
  logicalBlockSize: BLOCK_SIZE,
  physicalBlockSize: BLOCK_SIZE,
});

/** Checks an address. Throws TypeError and RangeError. */
export function checkAddress(address: ScsiAddress): Required<ScsiAddress> {
  const { target = 0, lun } = ADDRESS_TABLE.read(address);
  if (lun === undefined) throw new TypeError("Cannot find a LUN with lun undefined: wanted an integer");
  return { target, lun };
}

/** Checks a disk, and fills in what it says of itself. Throws TypeError and RangeError. */
export function checkLun(given: ScsiLun): CheckedLun {
  const options = LUN_TABLE.read(given);
  const { device, lun, target = 0, logicalBlockSize = SECTOR_BYTES } = options;
  if (lun === undefined) throw new TypeError("Cannot serve a LUN with lun undefined: wanted an integer");
  if (device === undefined) throw new TypeError(`Cannot serve ${shown(device)}: wanted a BlockDevice`);
  const { info, alignment } = device;
  const physicalBlockBytes = options.physicalBlockSize ??
    Math.max(logicalBlockSize, alignment.offset, info.blockSize);
  if (physicalBlockBytes < logicalBlockSize) {
    throw new RangeError(
      `Cannot use physicalBlockSize ${physicalBlockBytes}: wanted at least logicalBlockSize, ${logicalBlockSize}`,
    );
  }
  const blocks = shownBytes(device, logicalBlockSize) / logicalBlockSize;
  if (blocks < 1) {
    throw new RangeError(
      `Cannot serve ${device.target}: it has ${device.size} bytes, wanted at least one block of ${logicalBlockSize}`,
    );
  }
  const readOnly = options.readOnly === true || info.readOnly;
  const serial = options.serial ?? defaultSerial(device);
  return {
    target,
    lun,
    device,
    facts: {
      blockBytes: logicalBlockSize,
      physicalBlockBytes,
      blocks,
      readOnly,
      discards: !readOnly,
      // A file's range is given back as a hole, whole blocks of the disk at a time.
      zeroesDiscarded: !readOnly && info.kind === "file" && alignment.offset <= logicalBlockSize,
      discardBytes: Math.max(logicalBlockSize, alignment.offset),
      rotation: options.rotation ?? 0,
      serial,
      wwn: options.wwn ?? defaultName(serial),
    },
  };
}

function defaultName(serial: string): string {
  return LOCAL_NAME + createHash("sha256").update(serial).digest("hex").slice(0, NAME_DIGITS - 1);
}
