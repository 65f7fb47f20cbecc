/**
 * What the suite knows of a driver: a small descriptor for each way of opening a target.
 *
 * @module
 */
import { type BlockDevice, type DeviceOptions, openDevice } from "../../mod.ts";

/**
 * What a check may need of a target beyond a range of bytes to destroy. A configuration that lacks one says why; its check
 * is then skipped with that reason, or expects the other behaviour where there is one.
 */
export type Need =
  /** Targets of any size can be made, also smaller than a block. */
  | "any size"
  /** A write past the end makes the target grow, and it can be resized: regular files. Without it: ENOSPC. */
  | "growing"
  /** Targets are paths of a file system: missing ones, folders, names with any characters. */
  | "paths"
  /** A target may be open several times. */
  | "two devices"
  /** All devices of a Worker share one queue, so that a section over two of them is one submit. Without it: one each. */
  | "shared queue"
  /** The queue holds a section of 32. */
  | "sections of 32"
  /** The counters count what was asked for and nothing else. */
  | "exact counts"
  /** Sparse targets of 8 GiB and more. */
  | "large targets"
  /** Targets that end near 2^53. */
  | "far targets";

/** What a check asks a configuration to make. */
export interface TargetRequest {
  /** Bytes, a multiple of 4096 unless the check needs "any size". */
  readonly byteLength: number;
  /** What it holds: `pattern` of tests/support/temp_file.ts, or zeroes that take no room. */
  readonly content: "pattern" | "zeroes";
}

/** A target, gone on dispose. */
export interface MadeTarget extends AsyncDisposable {
  /** What `openDevice` takes. */
  readonly target: string;
  /** Options that belong to this very target. */
  readonly options?: DeviceOptions;
}

/** One way of opening a target, over which every check runs. */
export interface Configuration {
  /** Unique; the start of the names of its tests. */
  readonly name: string;
  /** The driver, for `--driver`. */
  readonly driver: string;
  /** True, or the reason why it cannot run here. */
  readonly ready: true | string;
  /** The machines of CI may lack what it needs. Default false: a failure there. */
  readonly optionalInCi?: boolean;
  /** It is a target that was named on the command line or by the environment. */
  readonly isOutside?: true;
  /** Options of each opening. */
  readonly options: DeviceOptions;
  /** What it lacks by its nature, and why. */
  readonly lacks: Readonly<Partial<Record<Need, string>>>;
  /** What it has elsewhere and this machine has not, and why: in CI a failure, as of `ready`. */
  readonly missing?: Readonly<Partial<Record<Need, string>>>;
  /** Makes a target. */
  make(request: TargetRequest): Promise<MadeTarget>;
  /** Opens it. Default `openDevice`. */
  readonly open?: (target: string, options: DeviceOptions) => Promise<BlockDevice>;
}

/** An open device on a target of its own; both gone on dispose. */
export class Disk implements AsyncDisposable {
  /** The device. */
  readonly device: BlockDevice;
  readonly #configuration: Configuration;
  readonly #made: MadeTarget;
  readonly #devices: BlockDevice[];

  private constructor(configuration: Configuration, made: MadeTarget, device: BlockDevice) {
    this.#configuration = configuration;
    this.#made = made;
    this.device = device;
    this.#devices = [device];
  }

  /** Makes a target and opens it. */
  static async open(configuration: Configuration, request: TargetRequest, options: DeviceOptions): Promise<Disk> {
    const made = await configuration.make(request);
    try {
      return new Disk(configuration, made, await openTarget(configuration, made, options));
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A unit in which offsets and lengths suit the device: its alignment, at least a sector. */
  get unit(): number {
    return Math.max(512, this.device.alignment.offset);
  }

  /** What `openDevice` took. */
  get target(): string {
    return this.#made.target;
  }

  /** Opens the same target once more; closed with the disk at the latest. */
  async again(options: DeviceOptions = {}): Promise<BlockDevice> {
    const device = await openTarget(this.#configuration, this.#made, options);
    this.#devices.push(device);
    return device;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const device of this.#devices) await device.close();
    } finally {
      await this.#made[Symbol.asyncDispose]();
    }
  }
}

function openTarget({ options, open = openDevice }: Configuration, made: MadeTarget, more: DeviceOptions) {
  return open(made.target, { ...options, ...made.options, ...more });
}

/** What a check gets: a maker of disks in one configuration. */
export class Subject {
  /** The configuration under test. */
  readonly configuration: Configuration;

  constructor(configuration: Configuration) {
    this.configuration = configuration;
  }

  /** True when nothing speaks against `need`. */
  has(need: Need): boolean {
    const { lacks, missing } = this.configuration;
    return lacks[need] === undefined && missing?.[need] === undefined;
  }

  /** A disk of the pattern, 1 MiB unless asked otherwise. */
  patterned(options: DeviceOptions = {}, byteLength = 1 << 20): Promise<Disk> {
    return Disk.open(this.configuration, { byteLength, content: "pattern" }, options);
  }

  /** A disk of zeroes. */
  zeroed(byteLength: number, options: DeviceOptions = {}): Promise<Disk> {
    return Disk.open(this.configuration, { byteLength, content: "zeroes" }, options);
  }
}

/** One behaviour that every driver must show. */
export interface Check {
  /** A sentence. */
  readonly name: string;
  /** What it cannot do without. */
  readonly needs?: readonly Need[];
  /** Throws when the behaviour is another. */
  run(subject: Subject): Promise<void>;
}
