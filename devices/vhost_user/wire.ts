/**
 * The messages of vhost-user as tables (specification: docs/interop/vhost-user.rst of QEMU, "Front-end message types");
 * there is no C header of them.
 *
 * @module
 */
import { struct } from "../../core/base/layout.ts";
import { featureBits } from "../virtio/mod.ts";
import { MEMORY_REGION, VRING_ADDR, VRING_STATE } from "./layout.ts";

const SPEC = "vhost-user.rst";

/** Head of every message. */
export const HEADER = struct("VhostUserHeader", SPEC, 12, {
  request: ["request", "u32", 0],
  flags: ["flags", "u32", 4],
  size: ["size", "u32", 8],
});

/** Bits of the header's flags. */
export const HeaderFlag = {
  /** Version, in the lowest two bits: 1. */
  version: 1,
  /** Mask of the version. */
  versionMask: 3,
  /** The message is an answer. */
  reply: 4,
  /** The sender wants to know whether it worked. */
  needReply: 8,
} as const;

/** A single number. */
export const U64_BYTES = 8;

/** Head of SET_MEM_TABLE; the regions follow. */
export const MEMORY_TABLE = struct("VhostUserMemory", SPEC, 8, { count: ["nregions", "u32", 0] });

/** ADD_MEM_REG and REM_MEM_REG: a region behind padding. */
export const SINGLE_REGION = struct("VhostUserMemRegMsg", SPEC, 8 + MEMORY_REGION.byteLength, {
  region: ["region", "bytes", 8],
});

/** SET_LOG_BASE. */
export const LOG = struct("VhostUserLog", SPEC, 16, {
  byteLength: ["mmap_size", "u64", 0],
  fileOffset: ["mmap_offset", "u64", 8],
});

/** GET_INFLIGHT_FD and SET_INFLIGHT_FD. */
export const INFLIGHT = struct("VhostUserInflight", SPEC, 24, {
  byteLength: ["mmap_size", "u64", 0],
  fileOffset: ["mmap_offset", "u64", 8],
  queueCount: ["num_queues", "u16", 16],
  queueSize: ["queue_size", "u16", 18],
});

/** Head of GET_CONFIG and SET_CONFIG; the bytes follow. */
export const CONFIG = struct("VhostUserConfig", SPEC, 12, {
  offset: ["offset", "u32", 0],
  size: ["size", "u32", 4],
  flags: ["flags", "u32", 8],
});

/** Bytes of the largest configuration space: VHOST_USER_MAX_CONFIG_SIZE. */
export const MAX_CONFIG_BYTES = 256;

/** Regions in one SET_MEM_TABLE: what the message has room for. */
const MAX_TABLE_REGIONS = 8;

/** Descriptors of one message at most: one for each region of the largest table. */
export const MAX_MESSAGE_FDS = MAX_TABLE_REGIONS;

/** Regions in all, added one by one: what this server answers GET_MAX_MEM_SLOTS with, as QEMU does for a machine. */
export const MAX_MEMORY_SLOTS = 509;

/** Bytes of the longest payload there is. */
export const MAX_PAYLOAD_BYTES = 4096;

/** Bit of SET_VRING_KICK, _CALL and _ERR: there is no descriptor. The lower bits are the index. */
export const NO_FD_BIT = 0x100;
/** Mask of the index in the same messages. */
export const FD_INDEX_MASK = 0xff;

/** Bit of the features that says that there are protocol features. */
export const PROTOCOL_FEATURES_BIT = 30;

/** Protocol features that this server knows, by bit. */
export const ProtocolFeature = {
  mq: 0,
  logShmfd: 1,
  replyAck: 3,
  backendReq: 5,
  config: 9,
  inflightShmfd: 12,
  configureMemSlots: 15,
  status: 16,
} as const;

/** All protocol features of this server as one number. */
export const PROTOCOL_FEATURES: bigint = featureBits(...Object.values(ProtocolFeature));

/** Message to the front end: the configuration space has changed. */
export const BACKEND_CONFIG_CHANGE = 2;

/** One type of message: what it has to look like. */
export interface MessageType {
  /** Name in the specification, without its prefix. */
  readonly name: string;
  /** Shortest payload in bytes. */
  readonly minBytes: number;
  /** Longest payload in bytes. */
  readonly maxBytes: number;
  /** Fewest descriptors. */
  readonly minFds: number;
  /** Most descriptors. */
  readonly maxFds: number;
  /** It has an answer of its own. */
  readonly answers: boolean;
}

function type<const Name extends string>(
  name: Name,
  bytes: number | readonly [number, number],
  fds: number | readonly [number, number] = 0,
  answers = false,
): MessageType & { readonly name: Name } {
  const [minBytes, maxBytes] = typeof bytes === "number" ? [bytes, bytes] : bytes;
  const [minFds, maxFds] = typeof fds === "number" ? [fds, fds] : fds;
  return { name, minBytes, maxBytes, minFds, maxFds, answers };
}

const ANSWERS = true;
const TABLE_BYTES = MEMORY_TABLE.byteLength + MAX_TABLE_REGIONS * MEMORY_REGION.byteLength;

/** Every message that this server takes, by its number. */
export const MESSAGES = {
  1: type("GET_FEATURES", 0, 0, ANSWERS),
  2: type("SET_FEATURES", U64_BYTES),
  3: type("SET_OWNER", 0),
  4: type("RESET_OWNER", 0),
  5: type("SET_MEM_TABLE", [MEMORY_TABLE.byteLength, TABLE_BYTES], [0, MAX_TABLE_REGIONS]),
  6: type("SET_LOG_BASE", LOG.byteLength, 1, ANSWERS),
  7: type("SET_LOG_FD", [0, U64_BYTES], 1),
  8: type("SET_VRING_NUM", VRING_STATE.byteLength),
  9: type("SET_VRING_ADDR", VRING_ADDR.byteLength),
  10: type("SET_VRING_BASE", VRING_STATE.byteLength),
  11: type("GET_VRING_BASE", VRING_STATE.byteLength, 0, ANSWERS),
  12: type("SET_VRING_KICK", U64_BYTES, [0, 1]),
  13: type("SET_VRING_CALL", U64_BYTES, [0, 1]),
  14: type("SET_VRING_ERR", U64_BYTES, [0, 1]),
  15: type("GET_PROTOCOL_FEATURES", 0, 0, ANSWERS),
  16: type("SET_PROTOCOL_FEATURES", U64_BYTES),
  17: type("GET_QUEUE_NUM", 0, 0, ANSWERS),
  18: type("SET_VRING_ENABLE", VRING_STATE.byteLength),
  21: type("SET_BACKEND_REQ_FD", [0, U64_BYTES], 1),
  // Also those that ask for more than there is: they have an answer.
  24: type("GET_CONFIG", [CONFIG.byteLength, MAX_PAYLOAD_BYTES], 0, ANSWERS),
  25: type("SET_CONFIG", [CONFIG.byteLength, MAX_PAYLOAD_BYTES]),
  31: type("GET_INFLIGHT_FD", INFLIGHT.byteLength, 0, ANSWERS),
  32: type("SET_INFLIGHT_FD", INFLIGHT.byteLength, [0, 1]),
  36: type("GET_MAX_MEM_SLOTS", 0, 0, ANSWERS),
  37: type("ADD_MEM_REG", SINGLE_REGION.byteLength, 1),
  38: type("REM_MEM_REG", SINGLE_REGION.byteLength, [0, 1]),
  39: type("SET_STATUS", U64_BYTES),
  40: type("GET_STATUS", 0, 0, ANSWERS),
} as const satisfies Readonly<Record<number, MessageType>>;

/** Name of a message that this server takes. */
export type MessageName = (typeof MESSAGES)[keyof typeof MESSAGES]["name"];

const BY_NUMBER: Readonly<Record<number, MessageType>> = MESSAGES;

/** The type of message `request`, or null for one that is not known here. */
export function messageType(request: number): MessageType | null {
  return BY_NUMBER[request] ?? null;
}

/** The number of a message by its name. */
export function messageNumber(name: string): number {
  for (const [number, { name: candidate }] of Object.entries(BY_NUMBER)) if (candidate === name) return Number(number);
  throw new RangeError(`Cannot find message ${name}: wanted one of the specification`);
}
