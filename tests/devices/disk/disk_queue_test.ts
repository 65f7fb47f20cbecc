/** A queue of requests for several units: what is joined, submitted and delivered, and what becomes of errors. */
import assert from "node:assert/strict";
import { plug, plugDepth, unplug } from "../../../core/plug/plug.ts";
import { Errno } from "../../../core/base/errno.ts";
import { StorageError } from "../../../core/base/errors.ts";
import { Opcode } from "../../../core/request/request.ts";
import {
  COPY_POOL_BYTES,
  CopyPool,
  DiskQueue,
  DiskRequest,
  type DiskRing,
  type DiskStats,
  DiskUnit,
  DiskUnits,
  newDiskStats,
} from "../../../devices/disk/mod.ts";
import { HeapMemory } from "../../../drivers/memory/heap_memory.ts";
import { FakeDisk, type FakeDiskOptions } from "../../support/fake_disk.ts";
import { FakeMemorySource } from "../../support/fake_memory.ts";
import { macrotask } from "../../support/turns.ts";

const SECTOR = 512;

/** A request of the imagined guest, with the unit that it is for. */
class UnitRequest extends DiskRequest {
  readonly unit: DiskUnit;
  result: number | null = null;

  constructor(unit: DiskUnit, op: Opcode, sector: number, sectors = 1) {
    super();
    this.unit = unit;
    this.op = op;
    this.offset = sector * SECTOR;
    this.length = sectors * SECTOR;
    if (op > Opcode.write) return;
    const memory = new HeapMemory(this.length);
    this.data.push({ guestAddress: 0, userAddress: 0, byteLength: this.length, memory, tables: 0 }, 0, this.length);
  }
}

/** A ring of requests as they are. */
class ListRing implements DiskRing {
  broken: string | null = null;
  readonly size = 256;
  notificationsOn = true;
  readonly list: UnitRequest[] = [];

  enableNotifications(): void {
    this.notificationsOn = true;
  }

  disableNotifications(): void {
    this.notificationsOn = false;
  }

  hasWork(): boolean {
    return this.list.length > 0;
  }

  shouldNotify(): boolean {
    return true;
  }
}

class UnitQueue extends DiskQueue<ListRing, UnitRequest> {
  protected override takeOne(): boolean {
    const request = this.queue.list.shift();
    if (request === undefined) return false;
    this.start(request.unit, request);
    return true;
  }

  override completed(request: UnitRequest, result: number): void {
    assert.equal(request.result, null, "told once");
    request.result = result;
    this.answered(result !== 0);
  }
}

interface Setting extends FakeDiskOptions {
  readonly batchRamp?: boolean;
  readonly coversUnknown?: boolean;
}

/** Two units, each over a disk of its own, under one queue. */
function setUp({ batchRamp = false, coversUnknown = true, ...disk }: Setting = {}) {
  const stats: DiskStats = newDiskStats();
  const copyPool = new CopyPool(COPY_POOL_BYTES);
  const lines: string[] = [];
  const log = (line: string) => void lines.push(line);
  const disks = [new FakeDisk(64 * SECTOR, disk), new FakeDisk(64 * SECTOR, disk)] as const;
  const units = disks.map((each) =>
    new DiskUnit(each, { blockBytes: SECTOR, merge: true, coversUnknown, copyPool, stats, log })
  ) as [DiskUnit, DiskUnit];
  const all = new DiskUnits();
  for (const unit of units) all.add(unit);
  const ring = new ListRing();
  const state = { notified: 0 };
  const memory = new FakeMemorySource();
  const queue = new UnitQueue(ring, () => void state.notified++, { memory, stats, batchRamp, deferNotify: true });
  const offer = (unit: number, op: Opcode, sector: number, sectors = 1) => {
    const request = new UnitRequest(units[unit]!, op, sector, sectors);
    ring.list.push(request);
    return request;
  };
  const end = () => {
    for (const unit of units) unit.endLog();
  };
  return { disks, units, all, queue, ring, state, stats, lines, offer, end };
}

const { read, write, flush, discard, writeZeroes } = Opcode;

Deno.test("neighbours are joined on their unit only, and a pass is one submit of each disk and one notification", () => {
  const { disks, units, queue, state, stats, offer } = setUp();
  // Alternating, so that each unit's neighbours are apart in the ring, and neighbours in the ring are of two units.
  const requests = Array.from({ length: 8 }, (_, index) => offer(index % 2, read, index >> 1));
  assert.equal(queue.pass(), 8);
  for (const disk of disks) {
    assert.deepEqual(disk.calls.map(({ offset, length }) => [offset, length]), [[0, 4 * SECTOR]]);
    assert.equal(disk.submits, 1);
  }
  assert.equal(stats.runs, 2);
  assert.deepEqual(units.map(({ inFlight }) => inFlight), [4, 4]);
  plug();
  for (const disk of disks) disk.completeAll();
  unplug();
  assert.deepEqual(requests.map(({ result }) => result), Array(8).fill(0));
  assert.equal(state.notified, 1);
  assert.deepEqual([queue.inFlight, units[0].inFlight, units[1].inFlight], [0, 0, 0]);
});

Deno.test("a write of one unit is not held up by a flush of another, and goes before one of its own", () => {
  const { disks, queue, offer } = setUp();
  offer(0, write, 0);
  offer(1, flush, 0, 0);
  offer(0, write, 1);
  offer(0, flush, 0, 0);
  queue.pass();
  assert.deepEqual(disks[0].calls.map(({ op, length }) => [op, length]), [[write, 2 * SECTOR], [flush, 0]]);
  assert.deepEqual(disks[1].calls.map(({ op }) => op), [flush]);
});

Deno.test("what disks answer inside their submits is delivered on every unit that a pass has come to", () => {
  const { disks, queue, offer } = setUp({ batchRamp: true });
  for (const disk of disks) disk.instant = true;
  const pass = () => {
    const requests = Array.from({ length: 8 }, (_, index) => offer(index % 2, read, (index * 7) % 60));
    queue.pass();
    return requests.map(({ result }) => result);
  };
  assert.deepEqual(pass(), Array(8).fill(0), "by the end of the pass");
  const before = disks.map(({ submits }) => submits);
  assert.deepEqual(pass(), Array(8).fill(0));
  // 1, 2, 4 and the rest: the first has nothing for the second disk, the last nothing for the first.
  assert.deepEqual(disks.map(({ submits }, index) => submits - before[index]!), [3, 3]);
  assert.equal(queue.inFlight, 0);
  disks[1].instant = false;
  pass();
  assert.equal(queue.inFlight, 4, "the second disk owes, the first does not");
});

Deno.test("the pass after one over two units submits what it has for one, and looks at that one alone", () => {
  const { disks, queue, offer } = setUp({ batchRamp: true });
  for (const disk of disks) disk.instant = true;
  for (let index = 0; index < 8; index++) offer(index % 2, read, (index * 7) % 60);
  queue.pass();
  const polls = disks[0].polls;
  const requests = Array.from({ length: 8 }, (_, index) => offer(1, read, (index * 7) % 60));
  queue.pass();
  assert.ok(requests.every(({ result }) => result === 0));
  assert.equal(disks[0].polls, polls);
});

Deno.test("the errno of a disk is the result of the bad request alone, also out of a joined run", () => {
  const { disks, queue, stats, lines, offer, end } = setUp();
  disks[0].badByte = 2 * SECTOR + 5;
  const requests = [0, 1, 2, 3].map((sector) => offer(0, read, sector));
  const other = offer(1, read, 2);
  queue.pass();
  for (const disk of disks) disk.completeAll();
  assert.deepEqual(requests.map(({ result }) => result), [0, 0, -Errno.EIO, 0]);
  assert.equal(other.result, 0);
  assert.deepEqual([stats.answers, stats.errors], [5, 1]);
  assert.match(lines[0]!, /^Cannot read 512 bytes at sector 2: .*EIO/);
  end();
});

Deno.test("a device that refuses inside submit gives its errno, and EIO where it has none", () => {
  const { disks, queue, lines, offer, end } = setUp();
  disks[0].submit = () => {
    throw new StorageError({ kind: "io", op: "write", target: "disk", errno: Errno.ENOSPC });
  };
  disks[1].closed = true;
  const joined = [0, 1, 2].map((sector) => offer(0, write, sector));
  const closed = offer(1, write, 0);
  queue.pass();
  assert.deepEqual(joined.map(({ result }) => result), Array(3).fill(-Errno.ENOSPC));
  assert.equal(closed.result, -Errno.EIO);
  assert.match(lines[0]!, /ENOSPC/);
  assert.equal(plugDepth(), 0);
  end();
});

for (const blockBytes of [SECTOR, 8 * SECTOR]) {
  const way = blockBytes === SECTOR ? "straight" : "by a copy";
  Deno.test(`ranges that a device does not know are covered, or their errno is handed up (${way})`, async () => {
    for (const errno of [Errno.EOPNOTSUPP, Errno.EINVAL]) {
      for (const coversUnknown of [true, false]) {
        const { disks, queue, units, offer, end } = setUp({ coversUnknown, blockBytes });
        disks[0].rangeErrno = errno;
        const requests = [offer(0, discard, 0, 16), offer(0, discard, 1, 20), offer(0, writeZeroes, 0, 16)];
        queue.pass();
        disks[0].completeAll();
        for (let turn = 0; turn < 10; turn++) await macrotask();
        const result = coversUnknown ? 0 : -errno;
        assert.deepEqual(requests.map((request) => request.result), [result, result, result]);
        assert.deepEqual(
          [units[0].facts.discards, units[0].facts.zeroes],
          [coversUnknown, coversUnknown].map((no) => !no),
        );
        end();
      }
    }
  });
}

Deno.test("copies carry their errno, and keep the thread awake until the last of them has ended", async () => {
  const { disks, queue, all, offer, end } = setUp({ reachesAllMemory: false });
  for (const disk of disks) disk.completionFd = 7;
  disks[0].read = () => Promise.reject(new StorageError({ kind: "io", op: "read", target: "d", errno: Errno.ENODATA }));
  const requests = [offer(0, read, 0), offer(1, read, 0)];
  queue.pass();
  assert.ok(!all.maySleep);
  await queue.drain();
  assert.deepEqual(requests.map(({ result }) => result), [-Errno.ENODATA, 0]);
  assert.ok(all.maySleep);
  end();
});

Deno.test("units are slept for while each that owes something has a descriptor, and no descriptor is named twice", () => {
  const { disks, all, queue, units, offer } = setUp();
  assert.deepEqual(all.completionFds, []);
  disks[0].completionFd = 7;
  assert.deepEqual(all.completionFds, [7]);
  disks[1].completionFd = 7;
  assert.deepEqual(all.completionFds, [7], "devices of one queue have one");
  disks[1].completionFd = -1;
  offer(0, read, 0);
  queue.pass();
  assert.ok(all.maySleep, "the other owes nothing");
  offer(1, read, 0);
  queue.pass();
  assert.ok(!all.maySleep);
  disks[0].instant = disks[1].instant = true;
  assert.equal(all.poll(), 2);
  assert.equal(all.poll(), 0);
  assert.deepEqual(disks.map(({ polls }) => polls), [1, 1], "a disk that owes nothing is not asked");
  all.remove(units[0]);
  assert.deepEqual(all.completionFds, []);
});
