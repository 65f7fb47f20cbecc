/**
 * A driver of one's own: a RAID-1 mirror. Reads come from the first target that answers them, everything else goes to
 * both. A target that fails what the other one does is dropped: it is out of date from then on.
 *
 *     openDevice("/dev/sda,/dev/sdb", { driver: mirror })
 *
 * @module
 */
import { type DeviceOptions, errnoName } from "@plugio/plugio";
import {
  type Backend,
  type DriverDescriptor,
  type IoRequest,
  LIST,
  Opcode,
  openBackend,
  StackedDevice,
} from "@plugio/plugio/driver";

/** Options of `openDevice` for the mirror. */
export interface MirrorOptions {
  /** Further options of each target, in order: `[{ driver: "linux_aio" }, {}]`. Default none. */
  readonly legs?: readonly DeviceOptions[];
}

/** The driver. */
export const mirror: DriverDescriptor<MirrorOptions> = {
  name: "mirror",
  example: "mirror:/dev/sda,/dev/sdb",
  options: { legs: LIST },
  async open(address, { legs = [], ...options }) {
    const [one, two, ...more] = address.split(",");
    if (!one || !two || more.length > 0) throw new RangeError(`Cannot open mirror ${address}: wanted TARGET,TARGET`);
    await using opened = new AsyncDisposableStack();
    const open = async (target: string, own?: DeviceOptions) =>
      opened.adopt(await openBackend(target, { ...options, ...own }), (leg) => leg.close(0));
    const device = new Mirror(`mirror:${address}`, [await open(one, legs[0]), await open(two, legs[1])]);
    opened.move();
    return device;
  },
};

/** Answers to a request that both legs were asked. */
interface Answers {
  owed: number;
  /** Of a leg that has done it; null while none has. */
  success: number | null;
  readonly failures: { readonly leg: Backend; readonly result: number }[];
}

class Mirror extends StackedDevice {
  readonly driver = "mirror";
  #legs: readonly Backend[];
  readonly #answers = new Map<IoRequest, Answers>();

  constructor(target: string, legs: readonly [Backend, Backend]) {
    super(target, legs);
    this.#legs = legs;
  }

  override get broken(): boolean {
    return this.#legs.every((leg) => leg.broken);
  }

  size(): number {
    return Math.min(...this.#legs.map((leg) => leg.size()));
  }

  resize(byteLength: number): void {
    for (const leg of this.#legs) leg.resize(byteLength);
  }

  protected start(request: IoRequest): void {
    const legs = request.op === Opcode.read ? this.#legs.slice(0, 1) : this.#legs;
    this.#answers.set(request, { owed: legs.length, success: null, failures: [] });
    for (const leg of legs) this.ask(request, leg);
  }

  protected answered(request: IoRequest, leg: Backend, result: number): void {
    const answers = this.#answers.get(request)!;
    if (result < 0) answers.failures.push({ leg, result });
    else answers.success = result;
    if (--answers.owed > 0) return;
    const next = this.#legs.find((other) => !answers.failures.some((failure) => failure.leg === other));
    if (request.op === Opcode.read && answers.success === null && next !== undefined && !request.cancelled) {
      answers.owed = 1;
      return this.ask(request, next);
    }
    this.#answers.delete(request);
    const failure = answers.failures[0]?.result ?? 0;
    // Given up in the middle: what the range holds is anything, on both.
    if (request.cancelled || request.op === Opcode.read) return this.complete(request, answers.success ?? failure);
    if (answers.success !== null) answers.failures.forEach((each) => this.#drop(each.leg, each.result));
    this.complete(request, answers.success ?? failure);
  }

  #drop(leg: Backend, result: number): void {
    if (this.#legs.length === 1 || !this.#legs.includes(leg)) return;
    this.#legs = this.#legs.filter((other) => other !== leg);
    this.noted.push(`${leg.target} was dropped after ${errnoName(-result)}`);
  }
}
