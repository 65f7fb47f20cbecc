/**
 * What nvme-cli prints of a controller, from the structures that the controller wrote. Checked against nvme-cli itself.
 *
 * @module
 */
import { NVME_ID_CTRL, NVME_ID_PSD, NVME_SMART_LOG } from "../../ffi/vfio_nvme/mod.ts";
import { StructReader } from "./identify.ts";

type IdentifyField = keyof typeof NVME_ID_CTRL.fields;

/** How nvme-cli prints a field: decimal, hexadecimal with 0x unless it is 0, a count of 128 bits, text, and so on. */
type Format = "decimal" | "hex" | "wide" | "uuid" | "oui" | "name" | { readonly text: number };

const FIELDS: readonly (readonly [IdentifyField, Format])[] = [
  ["vid", "hex"],
  ["ssvid", "hex"],
  ["sn", { text: 20 }],
  ["mn", { text: 40 }],
  ["fr", { text: 8 }],
  ["rab", "decimal"],
  ["ieee", "oui"],
  ["cmic", "hex"],
  ["mdts", "decimal"],
  ["cntlid", "hex"],
  ["ver", "hex"],
  ["rtd3r", "hex"],
  ["rtd3e", "hex"],
  ["oaes", "hex"],
  ["ctratt", "hex"],
  ["rrls", "hex"],
  ["cntrltype", "decimal"],
  ["fguid", "uuid"],
  ["crdt1", "decimal"],
  ["crdt2", "decimal"],
  ["crdt3", "decimal"],
  ["nvmsr", "decimal"],
  ["vwci", "decimal"],
  ["mec", "decimal"],
  ["oacs", "hex"],
  ["acl", "decimal"],
  ["aerl", "decimal"],
  ["frmw", "hex"],
  ["lpa", "hex"],
  ["elpe", "decimal"],
  ["npss", "decimal"],
  ["avscc", "hex"],
  ["apsta", "hex"],
  ["wctemp", "decimal"],
  ["cctemp", "decimal"],
  ["mtfa", "decimal"],
  ["hmpre", "decimal"],
  ["hmmin", "decimal"],
  ["tnvmcap", "wide"],
  ["unvmcap", "wide"],
  ["rpmbs", "hex"],
  ["edstt", "decimal"],
  ["dsto", "decimal"],
  ["fwug", "decimal"],
  ["kas", "decimal"],
  ["hctma", "hex"],
  ["mntmt", "decimal"],
  ["mxtmt", "decimal"],
  ["sanicap", "hex"],
  ["hmminds", "decimal"],
  ["hmmaxd", "decimal"],
  ["nsetidmax", "decimal"],
  ["endgidmax", "decimal"],
  ["anatt", "decimal"],
  ["anacap", "decimal"],
  ["anagrpmax", "decimal"],
  ["nanagrpid", "decimal"],
  ["pels", "decimal"],
  ["domainid", "decimal"],
  ["megcap", "wide"],
  ["sqes", "hex"],
  ["cqes", "hex"],
  ["maxcmd", "decimal"],
  ["nn", "decimal"],
  ["oncs", "hex"],
  ["fuses", "hex"],
  ["fna", "hex"],
  ["vwc", "hex"],
  ["awun", "decimal"],
  ["awupf", "decimal"],
  ["icsvscc", "decimal"],
  ["nwpc", "decimal"],
  ["acwu", "decimal"],
  ["ocfs", "hex"],
  ["sgls", "hex"],
  ["mnan", "decimal"],
  ["maxdna", "wide"],
  ["maxcna", "decimal"],
  ["subnqn", "name"],
  ["ioccsz", "decimal"],
  ["iorcsz", "decimal"],
  ["icdoff", "decimal"],
  ["fcatt", "decimal"],
  ["msdbd", "decimal"],
  ["ofcs", "decimal"],
];

/** Bytes of the longest qualified name. */
const NAME_BYTES = 256;

/** Identify Controller as `nvme id-ctrl` prints it. */
export function identifyText(bytes: Uint8Array): string {
  const id = new StructReader(NVME_ID_CTRL, bytes);
  const lines = FIELDS.map(([name, format]) => `${name.padEnd(10)}: ${formatField(id, name, format)}`);
  const states = Array.from({ length: id.integer("npss") + 1 }, (_, index) => powerState(bytes, index));
  return ["NVME Identify Controller:", ...lines, ...states.flat()].join("\n") + "\n";
}

function formatField(id: StructReader<IdentifyField>, name: IdentifyField, format: Format): string {
  if (typeof format === "object") return latin1(id.bytes(name, format.text));
  switch (format) {
    case "decimal":
      return String(id.integer(name));
    case "hex":
      return hex(id.integer(name));
    case "wide":
      return String(wide(id.bytes(name, 16)));
    case "uuid":
      return digits(id.bytes(name, 16)).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    case "oui":
      return digits(id.bytes(name, 3).toReversed());
    case "name":
      return id.text(name, NAME_BYTES);
  }
}

function hex(value: number): string {
  return value === 0 ? "0" : `0x${value.toString(16)}`;
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

function digits(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function wide(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** Scale of idle and active power in watts, by its two bits. */
const POWER_SCALES: Readonly<Record<number, number>> = { 1: 0.0001, 2: 0.01 };

function powerState(bytes: Uint8Array, index: number): string[] {
  const start = NVME_ID_CTRL.fields.psd.offset + index * NVME_ID_PSD.byteLength;
  const state = new StructReader(NVME_ID_PSD, bytes.subarray(start, start + NVME_ID_PSD.byteLength));
  const flags = state.integer("flags");
  // Bit 0: the maximum power counts in units of 0.0001 W instead of 0.01 W. Bit 1: no I/O in this state.
  const power = (flags & 1) === 0
    ? `${(state.integer("mp") / 100).toFixed(2)}W`
    : `${(state.integer("mp") / 10000).toFixed(4)}W`;
  const scaled = (value: number, scale: number) => {
    const unit = POWER_SCALES[scale];
    return unit === undefined ? "-" : `${(value * unit).toFixed(scale === 1 ? 4 : 2)}W`;
  };
  const active = state.integer("apws");
  const latencies = (["enlat", "exlat", "rrt", "rrl"] as const).map((name) => `${name}:${state.integer(name)}`);
  return [
    `ps ${String(index).padStart(6)} : mp:${power} ${(flags & 2) === 0 ? "" : "non-"}operational ${
      latencies.join(" ")
    }`,
    `            rwt:${state.integer("rwt")} rwl:${state.integer("rwl")} ` +
    `idle_power:${scaled(state.integer("idlp"), state.integer("ips") >>> 6)} ` +
    `active_power:${scaled(state.integer("actp"), active >>> 6)}`,
    `            active_power_workload:${(active >>> 6) === 0 ? "-" : active & 7}`,
  ];
}

const KELVIN_AT_0_C = 273;
/** One data unit: 1,000 blocks of 512 bytes. */
const DATA_UNIT_BYTES = 512_000n;

/** The SMART log as `nvme smart-log` prints it, for a controller called `name`. */
export function smartText(bytes: Uint8Array, name: string): string {
  const log = new StructReader(NVME_SMART_LOG, bytes);
  const kelvin = log.bytes("temperature", 2);
  const count = (field: "host_reads") => wide(log.bytes(field, 16));
  const big = (field: keyof typeof NVME_SMART_LOG.fields) => count(field as "host_reads");
  const sensors = log.bytes("temp_sensor", 16);
  const sensor = (index: number) => sensors[index * 2]! | (sensors[index * 2 + 1]! << 8);
  const lines: (readonly [label: string, tabs: number, value: string | number | bigint])[] = [
    ["critical_warning", 3, hex(log.integer("critical_warning"))],
    ["temperature", 4, temperature(kelvin[0]! | (kelvin[1]! << 8))],
    ["available_spare", 4, `${log.integer("avail_spare")}%`],
    ["available_spare_threshold", 2, `${log.integer("spare_thresh")}%`],
    ["percentage_used", 4, `${log.integer("percent_used")}%`],
    ["endurance group critical warning summary", 0, hex(log.integer("endu_grp_crit_warn_sumry"))],
    ["Data Units Read", 4, dataUnits(big("data_units_read"))],
    ["Data Units Written", 3, dataUnits(big("data_units_written"))],
    ["host_read_commands", 3, big("host_reads")],
    ["host_write_commands", 3, big("host_writes")],
    ["controller_busy_time", 3, big("ctrl_busy_time")],
    ["power_cycles", 4, big("power_cycles")],
    ["power_on_hours", 4, big("power_on_hours")],
    ["unsafe_shutdowns", 3, big("unsafe_shutdowns")],
    ["media_errors", 4, big("media_errors")],
    ["num_err_log_entries", 3, big("num_err_log_entries")],
    ["Warning Temperature Time", 2, log.integer("warning_temp_time")],
    ["Critical Composite Temperature Time", 1, log.integer("critical_comp_time")],
    ...Array.from({ length: 8 }, (_, index) => index).filter((index) => sensor(index) !== 0).map((index) =>
      [`Temperature Sensor ${index + 1}          `, 0, temperature(sensor(index))] as const
    ),
    ["Thermal Management T1 Trans Count", 1, log.integer("thm_temp1_trans_count")],
    ["Thermal Management T2 Trans Count", 1, log.integer("thm_temp2_trans_count")],
    ["Thermal Management T1 Total Time", 1, log.integer("thm_temp1_total_time")],
    ["Thermal Management T2 Total Time", 1, log.integer("thm_temp2_total_time")],
  ];
  const text = lines.map(([label, tabs, value]) => `${label}${"\t".repeat(tabs)}: ${value}`);
  return [`Smart Log for NVME device:${name} namespace-id:ffffffff`, ...text].join("\n") + "\n";
}

function temperature(kelvin: number): string {
  return `${kelvin - KELVIN_AT_0_C}°C (${kelvin} Kelvin)`;
}

function dataUnits(units: bigint): string {
  return `${units} (${scaledSi(Number(units * DATA_UNIT_BYTES), " ").trimStart()}B)`;
}

/** Two decimals and a decimal suffix: `512.00 k`. */
function scaledSi(value: number, gap: string): string {
  const suffixes = ["", "k", "M", "G", "T", "P"];
  let index = 0;
  let scaled = value;
  while (scaled >= 1000 && index < suffixes.length - 1) {
    scaled /= 1000;
    index++;
  }
  return `${scaled.toFixed(2).padStart(6)}${gap}${suffixes[index]}`;
}

/** One namespace in the list. */
export interface ListRow {
  /** `/dev/nvme0n1`, or the target of this driver. */
  readonly node: string;
  /** `/dev/ng0n1`, or `-`. */
  readonly generic: string;
  readonly serial: string;
  readonly model: string;
  readonly nsid: number;
  readonly usedBytes: number;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly metadataBytes: number;
  readonly firmware: string;
}

const COLUMNS = [
  ["Node", 21],
  ["Generic", 21],
  ["SN", 20],
  ["Model", 40],
  ["Namespace", 9],
  ["Usage", 26],
  ["Format", 16],
  ["FW Rev", 8],
] as const;

/** The namespaces as `nvme list` prints them. */
export function listText(rows: readonly ListRow[]): string {
  const line = (cells: readonly string[]) => cells.map((cell, index) => cell.padEnd(COLUMNS[index]![1])).join(" ");
  return [
    line(COLUMNS.map(([title]) => title)),
    COLUMNS.map(([, width]) => "-".repeat(width)).join(" "),
    ...rows.map((row) => {
      const size = (bytes: number) => {
        const [number = "", suffix = ""] = scaledSi(bytes, "|").split("|");
        return `${number} ${suffix.padStart(2)}B`;
      };
      const kibi = row.blockBytes >= 1024;
      const block = `${String(kibi ? row.blockBytes / 1024 : row.blockBytes).padStart(3)} ${kibi ? "Ki" : "  "}B`;
      return line([
        row.node,
        row.generic,
        row.serial,
        row.model,
        String(row.nsid),
        `${size(row.usedBytes)} / ${size(row.sizeBytes)}`,
        `${block} + ${String(row.metadataBytes).padStart(2)} B`,
        row.firmware,
      ]);
    }),
  ].join("\n") + "\n";
}
