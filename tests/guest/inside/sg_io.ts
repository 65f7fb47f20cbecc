/**
 * Runs in the guest: sends the same commands to several SCSI disks by SG_IO, and writes what each answered.
 *
 *     deno run -P sg_io.ts LAST_LBA SEED RANDOM_COUNT OUTPUT /dev/sg0 /dev/sg1
 *
 * @module
 */
import { createHash } from "node:crypto";
import { libc } from "../../../ffi/libc/mod.ts";
import { namedCommands, randomCommands, type ScsiAnswer, type ScsiCommand } from "../scsi_commands.ts";

/** From scsi/sg.h: the request, its direction, and struct sg_io_hdr on 64 bits. */
const SG_IO = 0x2285n;
const DIRECTION = { none: -1, out: -2, in: -3 } as const;
const HEADER = {
  byteLength: 88,
  interfaceId: 0,
  direction: 4,
  cdbBytes: 8,
  senseBytes: 9,
  dataBytes: 12,
  data: 16,
  cdb: 24,
  sense: 32,
  timeoutMs: 40,
  status: 64,
  senseWritten: 67,
  hostStatus: 68,
  residual: 72,
} as const;
const TIMEOUT_MS = 20_000;
const SENSE_BYTES = 96;

/** Longer data is written as its digest. */
const SHOWN_BYTES = 1024;

/** What a buffer holds before the disk writes to it, so that bytes which it leaves alone are seen. */
const UNTOUCHED = 0xee;

function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

function send(fd: number, { name, cdb, inBytes = 0, out }: ScsiCommand): ScsiAnswer {
  const command = Uint8Array.from(cdb);
  // A buffer has an address only where it has bytes.
  const data = out === undefined ? new Uint8Array(Math.max(1, inBytes)).fill(UNTOUCHED) : Uint8Array.from(out);
  const sense = new Uint8Array(SENSE_BYTES);
  const header = new Uint8Array(HEADER.byteLength);
  const view = new DataView(header.buffer);
  const byteLength = out?.length ?? inBytes;
  const direction = byteLength === 0 ? DIRECTION.none : out === undefined ? DIRECTION.in : DIRECTION.out;
  view.setInt32(HEADER.interfaceId, "S".charCodeAt(0), true);
  view.setInt32(HEADER.direction, direction, true);
  header[HEADER.cdbBytes] = command.length;
  header[HEADER.senseBytes] = SENSE_BYTES;
  view.setUint32(HEADER.dataBytes, byteLength, true);
  view.setBigUint64(HEADER.data, addressOf(data), true);
  view.setBigUint64(HEADER.cdb, addressOf(command), true);
  view.setBigUint64(HEADER.sense, addressOf(sense), true);
  view.setUint32(HEADER.timeoutMs, TIMEOUT_MS, true);
  if (libc().ioctl(fd, SG_IO, header) !== 0) throw new Error(`Cannot send ${name}: expected SG_IO to take it`);
  const residual = view.getInt32(HEADER.residual, true);
  const came = direction === DIRECTION.in ? data.subarray(0, byteLength - residual) : new Uint8Array(0);
  return {
    status: header[HEADER.status]!,
    hostStatus: view.getUint16(HEADER.hostStatus, true),
    sense: sense.subarray(0, header[HEADER.senseWritten]).toHex(),
    residual,
    data: came.length > SHOWN_BYTES ? createHash("sha256").update(came).digest("hex") : came.toHex(),
  };
}

const [lastLba, seed, count, output, ...disks] = Deno.args;
const commands = [
  ...namedCommands(Number(lastLba)),
  ...randomCommands(Number(lastLba), Number(count), Number(seed)),
];
const O_RDWR = 2;
const answers = disks.map((disk) => {
  const fd = libc().open(new TextEncoder().encode(`${disk}\0`), O_RDWR, 0);
  if (fd < 0) throw new Error(`Cannot open ${disk}: expected an sg device`);
  return commands.map((command) => send(fd, command));
});
Deno.writeTextFileSync(output!, JSON.stringify(answers));
