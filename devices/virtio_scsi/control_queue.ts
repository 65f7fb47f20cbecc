import type { GuestMemory } from "../guest_memory/mod.ts";
import { SegmentList } from "../guest_memory/mod.ts";
import {
  type ChainRequest,
  ChainTaker,
  type NotifyDriver,
  type SplitQueue,
  type VirtqueueDevice,
} from "../virtio/mod.ts";
import { NO_ADDRESS, readPlace, targetOf } from "./address.ts";
import {
  VIRTIO_SCSI_CONSTANTS as C,
  VIRTIO_SCSI_CTRL_AN_REQ as AN_REQUEST,
  VIRTIO_SCSI_CTRL_AN_RESP as AN_RESPONSE,
  VIRTIO_SCSI_CTRL_TMF_REQ as TMF_REQUEST,
  VIRTIO_SCSI_CTRL_TMF_RESP as TMF_RESPONSE,
} from "./layout.ts";
import type { ScsiOrder, TaskSet } from "./orders.ts";
import type { ScsiUnits } from "./units.ts";

/** One request of the control queue. */
class ControlRequest implements ChainRequest {
  head = 0;
  active = false;
  memory: GuestMemory | null = null;
  readonly answer: SegmentList = new SegmentList();
}

/** Has the parts of the device in all Workers do something; resolves to their answers. */
type GiveOrder = (order: ScsiOrder) => Promise<readonly unknown[]>;

const REJECTED = C.VIRTIO_SCSI_S_FUNCTION_REJECTED.value;
const COMPLETE = C.VIRTIO_SCSI_S_OK.value;

/** The control queue: task management, which reaches the commands of all queues and Workers. */
export class ScsiControlQueue implements VirtqueueDevice {
  readonly queue: SplitQueue;
  inFlight = 0;
  readonly #taker: ChainTaker<ControlRequest>;
  readonly #units: ScsiUnits;
  readonly #give: GiveOrder;
  readonly #notify: NotifyDriver;
  readonly #bytes = new Uint8Array(TMF_REQUEST.byteLength);
  readonly #view = new DataView(this.#bytes.buffer);
  #onIdle: (() => void) | null = null;

  /** Serves `queue`; units are looked up in `units`, and what is to be done goes to `give`. */
  constructor(queue: SplitQueue, units: ScsiUnits, give: GiveOrder, notify: NotifyDriver) {
    this.queue = queue;
    this.#units = units;
    this.#give = give;
    this.#notify = notify;
    this.#taker = new ChainTaker(queue, () => new ControlRequest());
  }

  hasWork(): boolean {
    return this.queue.hasWork();
  }

  pass(): number {
    let count = 0;
    do {
      while (count < this.queue.size && this.#takeOne()) count++;
      this.queue.enableNotifications();
    } while (count < this.queue.size && this.queue.hasWork());
    return count;
  }

  drain(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  close(): void {}

  #takeOne(): boolean {
    const taker = this.#taker;
    const request = taker.take();
    if (request === null) return false;
    const { readable, writable } = taker.chain;
    if (writable.byteLength === 0) {
      taker.refuse(request, `a control request without room for its answer (head ${request.head})`);
      return false;
    }
    request.answer.clear();
    request.answer.pushPart(writable, 0, writable.byteLength);
    this.#bytes.fill(0);
    const byteLength = readable.read(0, this.#bytes);
    this.inFlight++;
    const type = this.#view.getUint32(0, true);
    const { fields } = AN_RESPONSE;
    if (type === C.VIRTIO_SCSI_T_TMF.value && byteLength >= TMF_REQUEST.byteLength) {
      const functionAnswer = new Uint8Array(TMF_RESPONSE.byteLength);
      this.#manage().catch(() => REJECTED).then((response) => {
        functionAnswer[0] = response;
        this.#answer(request, functionAnswer);
      });
    } else if (isAsynchronous(type) && byteLength >= AN_REQUEST.byteLength) {
      // There are no such events; nothing is subscribed to.
      const answer = new Uint8Array(AN_RESPONSE.byteLength);
      answer[fields.response.offset] = COMPLETE;
      this.#answer(request, answer);
    } else this.#answer(request, Uint8Array.of(REJECTED));
    return true;
  }

  #answer(request: ControlRequest, answer: Uint8Array<ArrayBuffer>): void {
    const written = request.answer.write(answer);
    this.queue.dirtyLog?.markSegments(request.answer, written);
    this.#taker.answer(request, written);
    if (this.queue.shouldNotify()) this.#notify();
    if (--this.inFlight > 0 || this.#onIdle === null) return;
    const onIdle = this.#onIdle;
    this.#onIdle = null;
    onIdle();
  }

  /** Does the task management function of the request that was read; the first part at once, before the next one is read. */
  async #manage(): Promise<number> {
    const { subtype, lun, tag } = TMF_REQUEST.fields;
    const view = this.#view;
    const place = readPlace(this.#bytes, lun.offset);
    if (place === NO_ADDRESS || !this.#units.hasTarget(targetOf(place))) return C.VIRTIO_SCSI_S_BAD_TARGET.value;
    const kind = view.getUint32(subtype.offset, true);
    const isReset = kind === C.VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET.value ||
      kind === C.VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET.value;
    const task = {
      of: "task",
      place,
      tagLow: view.getUint32(tag.offset, true),
      tagHigh: view.getUint32(tag.offset + 4, true),
    } as const;
    const tasks = taskSetOf(kind, task);
    if (tasks === null) return REJECTED;
    if (tasks.of !== "target" && this.#units.at(place) === null) return C.VIRTIO_SCSI_S_INCORRECT_LUN.value;
    if (kind === C.VIRTIO_SCSI_T_TMF_QUERY_TASK.value || kind === C.VIRTIO_SCSI_T_TMF_QUERY_TASK_SET.value) {
      const counts = await this.#give({ order: "count", tasks });
      return counts.some((count) => count !== 0) ? C.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED.value : COMPLETE;
    }
    const response = isReset ? C.VIRTIO_SCSI_S_RESET.value : C.VIRTIO_SCSI_S_ABORTED.value;
    await this.#give({ order: "abort", tasks, response });
    if (isReset) await this.#give({ order: "reset", tasks });
    return COMPLETE;
  }
}

function isAsynchronous(type: number): boolean {
  return type === C.VIRTIO_SCSI_T_AN_QUERY.value || type === C.VIRTIO_SCSI_T_AN_SUBSCRIBE.value;
}

/** Which commands a function is about; null for one that is not known here. */
function taskSetOf(kind: number, task: TaskSet & { readonly of: "task" }): TaskSet | null {
  switch (kind) {
    case C.VIRTIO_SCSI_T_TMF_ABORT_TASK.value:
    case C.VIRTIO_SCSI_T_TMF_QUERY_TASK.value:
      return task;
    case C.VIRTIO_SCSI_T_TMF_ABORT_TASK_SET.value:
    case C.VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET.value:
    case C.VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET.value:
    case C.VIRTIO_SCSI_T_TMF_QUERY_TASK_SET.value:
      return { of: "unit", place: task.place };
    case C.VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET.value:
      return { of: "target", place: task.place };
    default:
      return null;
  }
}
