import { misuse } from "../failure.ts";

/** Largest number of a target, and of a LUN: one byte of a LUN's address each. */
const MAX_TARGET = 255;
const MAX_LUN = 255;

/** Printable ASCII characters of a serial, as the page of unit serial numbers takes it. */
const SERIAL = /^[\x20-\x7e]{1,36}$/;

/** Eight bytes of a name by NAA: IEEE extended, locally assigned, IEEE registered. The sixth kind has sixteen. */
const WWN = /^[235][0-9a-f]{15}$/;

/** Revolutions a minute that a disk can say of itself; 0 says nothing, 1 that it does not turn, the rest is reserved. */
const MIN_RPM = 0x401;
const MAX_RPM = 0xfffe;

/** Where a disk is found: target and LUN. */
export interface LunAddress {
  readonly target: number;
  readonly lun: number;
}

/** One disk of an adapter, as the command line says it. Plain data. */
export interface LunPlan extends LunAddress {
  /** File, block device or driver:address. */
  readonly path: string;
  readonly readOnly: boolean;
  readonly serial?: string;
  /** Sixteen hexadecimal digits in lower case. */
  readonly wwn?: string;
  /** 0 for a disk that says nothing of it, 1 for one that does not turn, else revolutions a minute. */
  readonly rotation?: number;
}

/** What is said of a disk behind its TARGET. */
type LunProperties = Pick<LunPlan, "readOnly" | "serial" | "wwn" | "rotation">;

/** How a disk is written, for messages and the help. */
const LUN_SYNTAX = "[T:]L=TARGET[,serial=TEXT][,wwn=HEX][,rotation=N][,ro]";

/** `[T:]L=TARGET[,…]`; `option` names it in messages. A comma of TARGET or serial is written twice, as QEMU has it. */
export function parseLun(text: string, option: string): LunPlan {
  const refuse = (why: string) => misuse(`Cannot use ${option} ${JSON.stringify(text)}: ${why}`);
  if (text.includes("\0")) throw refuse("wanted no NUL characters");
  const equals = text.indexOf("=");
  if (equals < 0) throw refuse(`wanted ${LUN_SYNTAX}`);
  const address = parseAddress(text.slice(0, equals), refuse);
  const [path = "", ...words] = splitAtCommas(text.slice(equals + 1));
  if (path === "") throw refuse("its TARGET is empty, wanted a file, a block device or driver:address");
  return { ...address, path, ...parseProperties(words, refuse) };
}

/** `[T:]L`, as `lun remove` takes it; `option` names it in messages. */
export function parseLunAddress(text: string, option: string): LunAddress {
  return parseAddress(text, (why) => misuse(`Cannot use ${option} ${JSON.stringify(text)}: ${why}`));
}

/** The text that {@link parseLun} reads this disk from. */
export function lunText({ target, lun, path, readOnly, serial, wwn, rotation }: LunPlan): string {
  const doubled = (text: string) => text.replaceAll(",", ",,");
  return [
    `${target}:${lun}=${doubled(path)}`,
    ...serial === undefined ? [] : [`serial=${doubled(serial)}`],
    ...wwn === undefined ? [] : [`wwn=${wwn}`],
    ...rotation === undefined ? [] : [`rotation=${rotation}`],
    ...readOnly ? ["ro"] : [],
  ].join(",");
}

/** `0:5`, as addresses are shown. */
export function shownAddress({ target, lun }: LunAddress): string {
  return `${target}:${lun}`;
}

/**
 * All disks of an adapter. Two at one place are refused, and two with one serial or WWN: a guest that joins the paths to a
 * disk takes them for one, and writes to either.
 */
export function parseLuns(texts: readonly string[]): readonly LunPlan[] {
  if (texts.length === 0) throw misuse(`Cannot serve an adapter without disks: wanted --lun ${LUN_SYNTAX}`);
  const luns: LunPlan[] = [];
  for (const text of texts) {
    const lun = parseLun(text, "--lun");
    const refuse = (why: string) => misuse(`Cannot use --lun ${JSON.stringify(text)}: ${why}`);
    for (const other of luns) {
      const at = shownAddress(other);
      if (at === shownAddress(lun)) throw refuse(`${at} is there already, wanted another LUN or target`);
      if (lun.serial !== undefined && lun.serial === other.serial) {
        throw refuse(`${at} has the same serial, wanted one for each disk`);
      }
      if (lun.wwn !== undefined && lun.wwn === other.wwn) {
        throw refuse(`${at} has the same wwn, wanted one for each disk`);
      }
    }
    luns.push(lun);
  }
  return luns;
}

type Refusal = (why: string) => Error;

function parseAddress(text: string, refuse: Refusal): LunAddress {
  const parts = text.split(":");
  const [lun = "", target = "0"] = parts.toReversed();
  if (parts.length > 2) throw refuse("wanted L or T:L in front of it");
  return { target: parseNumber("target", target, MAX_TARGET, refuse), lun: parseNumber("LUN", lun, MAX_LUN, refuse) };
}

function parseNumber(name: string, text: string, max: number, refuse: Refusal): number {
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  if (number <= max) return number;
  throw refuse(`${name} ${JSON.stringify(text)} is none, wanted a whole number from 0 to ${max}`);
}

/** Stands for a comma that is part of a piece; the caller has refused it in the text. */
const KEPT_COMMA = "\0";

/** Pieces between single commas; of two in a row, one stays. */
function splitAtCommas(text: string): string[] {
  return text.replaceAll(",,", KEPT_COMMA).split(",").map((piece) => piece.replaceAll(KEPT_COMMA, ","));
}

function parseProperties(words: readonly string[], refuse: Refusal): LunProperties {
  const found = new Map<string, string | null>();
  for (const word of words) {
    const equals = word.indexOf("=");
    const [key, value] = equals < 0 ? [word, null] : [word.slice(0, equals), word.slice(equals + 1)];
    if (found.has(key)) throw refuse(`${key} is given twice, wanted once`);
    if (!["serial", "wwn", "rotation", "ro"].includes(key)) {
      throw refuse(
        `${JSON.stringify(key)} is no property, wanted serial, wwn, rotation or ro; a comma of TARGET is ,,`,
      );
    }
    if (key === "ro" && value !== null) throw refuse("wanted ro without a value");
    if (key !== "ro" && (value === null || value === "")) throw refuse(`wanted ${key}=VALUE`);
    found.set(key, value);
  }
  return {
    readOnly: found.has("ro"),
    ...parseSerial(found.get("serial"), refuse),
    ...parseWwn(found.get("wwn"), refuse),
    ...parseRotation(found.get("rotation"), refuse),
  };
}

function parseSerial(serial: string | null | undefined, refuse: Refusal): Pick<LunPlan, "serial"> {
  if (typeof serial !== "string") return {};
  if (SERIAL.test(serial)) return { serial };
  throw refuse(`its serial has ${serial.length} characters, wanted 1 to 36 of ASCII`);
}

function parseWwn(text: string | null | undefined, refuse: Refusal): Pick<LunPlan, "wwn"> {
  if (typeof text !== "string") return {};
  const wwn = text.toLowerCase().replace(/^0x/, "");
  if (WWN.test(wwn)) return { wwn };
  throw refuse(`wwn ${text} is none, wanted 16 hexadecimal digits that begin with 2, 3 or 5`);
}

function parseRotation(text: string | null | undefined, refuse: Refusal): Pick<LunPlan, "rotation"> {
  if (typeof text !== "string") return {};
  const rotation = /^\d+$/.test(text) ? Number(text) : NaN;
  if (rotation === 0 || rotation === 1 || (rotation >= MIN_RPM && rotation <= MAX_RPM)) return { rotation };
  throw refuse(
    `rotation ${text} is none, wanted 0, 1 for a disk that does not turn, or ${MIN_RPM} to ${MAX_RPM} a minute`,
  );
}
