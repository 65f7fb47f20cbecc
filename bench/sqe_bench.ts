/** Preparing submission entries, the work of ours that each request needs in any case: 1000 entries an iteration. */
import { IoRequest, Opcode, RequestFlag } from "../core/request/request.ts";
import { type SqeTarget, writeCancelSqe, writeRequestSqe } from "../drivers/io_uring/sqe.ts";
import { IO_URING_SQE, URING_CONSTANTS as U } from "../ffi/liburing/mod.ts";
import { context, OPERATIONS, register } from "./support.ts";

context();

const SQ_ENTRIES = 256;
const REQUESTS = 64;
const GENERATION = 7;

const sqes = new Int32Array(SQ_ENTRIES * IO_URING_SQE.byteLength / 4);
const target: SqeTarget = {
  fileRef: 3,
  fileFlags: U.IOSQE_FIXED_FILE.value,
  isDevice: false,
  discardMethod: "punch",
  zeroMethod: "zero range",
  growTo: () => 0,
};

function requests(op: Opcode, set: (request: IoRequest, index: number) => void): IoRequest[] {
  return Array.from({ length: REQUESTS }, (_, index) => {
    const request = new IoRequest(op, () => {});
    request.slot = index;
    request.length = 4096;
    request.offset = index * 4096;
    request.addressLow = index * 4096;
    request.addressHigh = 0x7f12;
    set(request, index);
    return request;
  });
}

function bench(name: string, made: readonly IoRequest[], baseline = false): void {
  register(`1000 × ${name}`, { group: "sqe", baseline }, () => {
    for (let i = 0; i < OPERATIONS; i++) {
      writeRequestSqe(sqes, i & (SQ_ENTRIES - 1), made[i & (REQUESTS - 1)]!, target, GENERATION);
    }
  });
}

bench("read, registered buffer", requests(Opcode.read, (request) => request.registeredIndex = 1), true);
bench("read by address", requests(Opcode.read, () => {}));
bench("read beyond 4 GiB", requests(Opcode.read, (request, index) => request.offset = 2 ** 40 + index * 4096));
bench("write, force unit access", requests(Opcode.write, (request) => request.flags = RequestFlag.fua));
bench(
  "rest of a short read",
  requests(Opcode.read, (request) => request.done = 512),
);
bench("flush", requests(Opcode.flush, () => {}));
bench("write zeroes", requests(Opcode.writeZeroes, () => {}));
bench("nop", requests(Opcode.nop, () => {}));

register("1000 × cancel", { group: "sqe" }, () => {
  for (let i = 0; i < OPERATIONS; i++) writeCancelSqe(sqes, i & (SQ_ENTRIES - 1), i & (REQUESTS - 1), GENERATION);
});
