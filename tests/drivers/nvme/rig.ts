/** A device of the NVMe driver over the fake controller, with a real eventfd and the real event loop between them. */
import type { OpenOptions } from "../../../core/device/backend.ts";
import { BlockDevice } from "../../../core/device/block_device.ts";
import {
  DEFAULT_TIMING,
  type NvmeEnvironment,
  type NvmeTiming,
  openInterrupt,
} from "../../../drivers/nvme/environment.ts";
import { openNvme } from "../../../drivers/nvme/mod.ts";
import { pageMemory } from "../../../ffi/memory.ts";
import { FakeNvme, type FakeOptions } from "../../support/fake_nvme.ts";
import { FakeNamespace } from "../../support/fake_nvme_identify.ts";

export { FakeNamespace, FakeNvme };

/** Times short enough for a test, and in the same order as the real ones. */
const SHORT: NvmeTiming = {
  ...DEFAULT_TIMING,
  commandMs: 20,
  abortGraceMs: 20,
  tickMs: 5,
  adminMs: 500,
  shutdownMs: 50,
};

/** The machine with `fake` in it. */
export function environmentOf(fake: FakeNvme, timing: Partial<NvmeTiming> = {}): NvmeEnvironment {
  return {
    openPort: () => fake,
    memory: pageMemory,
    openInterrupt,
    lockedLimit: () => 8 * 1024 * 1024,
    timing: { ...SHORT, ...timing },
  };
}

/** Address of the fake. */
export const ADDRESS = "0000:01:00.0";

/** A device and the controller behind it. */
export interface Opened extends AsyncDisposable {
  readonly fake: FakeNvme;
  readonly disk: BlockDevice;
}

/** Opens namespace 1 (or another) of a new fake. Closing it checks that the host broke no rule. */
export async function openFake(
  options: OpenOptions & { fake?: FakeOptions; target?: string; timing?: Partial<NvmeTiming> } = {},
): Promise<Opened> {
  const fake = new FakeNvme(options.fake);
  const { target = `${ADDRESS}/1` } = options;
  const disk = new BlockDevice(await openNvme(target, options, environmentOf(fake, options.timing)));
  return {
    fake,
    disk,
    [Symbol.asyncDispose]: async () => {
      await disk.close();
      if (fake.violations.length > 0) throw new Error(`The host broke rules: ${fake.violations.join("; ")}`);
    },
  };
}

/** Bytes that differ from place to place. */
export function pattern(byteLength: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  for (let i = 0; i < byteLength; i++) bytes[i] = (i * 7 + (i >> 8) * 13 + seed) & 0xff;
  return bytes;
}
