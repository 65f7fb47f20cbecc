/**
 * NVMe controllers in the guest, as its kernel sees them: the rig that the tests of the driver stand on.
 */
import assert from "node:assert/strict";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { giveBack, type GuestDevice, guestReady, handToVfio, pciAddress, runGuest, VFIO_MODULES } from "./mod.ts";
import { NVME_CONFIGURATIONS } from "./nvme_configurations.ts";

const NAMESPACE_BYTES = 16 << 20;
const PAGE_KIB = 4;

/** A script that says where two controllers are, before and after the second went to VFIO and came back. */
function script(devices: readonly GuestDevice[]): string {
  const addresses = devices.map((_, index) => pciAddress(devices, index));
  const second = addresses[1]!;
  const show = `for a in ${addresses.join(" ")}; do basename "$(readlink /sys/bus/pci/devices/$a/driver)"; done`;
  // Its namespaces appear a moment after the driver took the controller.
  const wait =
    `for _ in $(seq 100); do [ -e /sys/bus/pci/devices/${second}/nvme/nvme*/nvme*n1 ] && break; sleep 0.1; done`;
  return `
${wait}
for disk in /sys/bus/pci/devices/${addresses[0]}/nvme/nvme*/nvme*n*; do
  echo "$(cat $disk/queue/logical_block_size) $(cat $disk/queue/max_hw_sectors_kb)"
done
echo "queues $(cat /sys/bus/pci/devices/${addresses[0]}/nvme/nvme*/queue_count)"
${show}
${handToVfio(second)}
${show}
group=$(basename "$(readlink /sys/bus/pci/devices/${second}/iommu_group)")
[ -c /dev/vfio/$group ] && echo "group of $(ls /sys/kernel/iommu_groups/$group/devices | wc -l)"
${giveBack(second)}
${wait}
${show}
dd if=/dev/urandom of=/dev/$(basename /sys/bus/pci/devices/${second}/nvme/nvme*/nvme*n1) bs=4k count=1 2>/dev/null
`;
}

for (const { name, blocks, mdts, queuePairs, cpus } of NVME_CONFIGURATIONS) {
  testWhen(guestReady(), `a controller goes to VFIO and back, next to one that stays: ${name}`, async () => {
    using dir = new TempDir();
    const image = (at: string) => dir.sparse(at, NAMESPACE_BYTES);
    const devices = ["a", "b"].map((controller): GuestDevice => ({
      kind: "nvme",
      mdts,
      queuePairs,
      namespaces: blocks.map((blockBytes, index) => ({ image: image(`${controller}${index}`), blockBytes })),
    }));
    const { code, stdout, stderr } = await runGuest({
      command: ["sh", "-ec", script(devices)],
      project: false,
      iommu: true,
      modules: VFIO_MODULES,
      devices,
      cpus,
    });
    assert.equal(code, 0, stdout + stderr);
    const queues = Math.min(queuePairs, cpus) + 1;
    const wanted = [
      ...blocks.map((blockBytes) => `${blockBytes} ${PAGE_KIB << mdts}`),
      `queues ${queues}`,
      ...["nvme", "nvme"],
      ...["nvme", "vfio-pci", "group of 1"],
      ...["nvme", "nvme"],
    ];
    assert.deepEqual(stdout.trim().split("\n"), wanted);
    const written = Deno.readFileSync(`${dir.path}/b0`);
    assert.ok(written.subarray(0, 4096).some((byte) => byte !== 0), "the controller that came back did not write");
  });
}
