/**
 * The driver in a virtual machine, on QEMU's NVMe controller behind an emulated IOMMU; and its tools next to nvme-cli.
 * `deno task test:nvme` runs the standard configuration with a part of the suite, `--matrix` all of both.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { nativeFileName } from "../../../ffi/native.ts";
import { buildNative } from "../../../tools/build_nvme.ts";
import { readCounts } from "../../../tools/run_tests.ts";
import { exists } from "../../../tools/setup/present.ts";
import {
  deviceId,
  giveBack,
  Guest,
  type GuestDevice,
  guestReady,
  type GuestResult,
  handToVfio,
  type NvmeDevice,
  pciAddress,
  portAddress,
  runGuestDespiteCrash,
  scriptCommand,
  testCommand,
  VFIO_MODULES,
} from "../../guest/mod.ts";
import { IS_MATRIX, NVME_CONFIGURATIONS, type NvmeConfiguration } from "../../guest/nvme_configurations.ts";
import "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;
const PAGE_KIB = 4;
const READY = guestReady();
/** nvme-cli of the distribution, for comparison. */
const HAS_NVME_CLI = ["/usr/sbin/nvme", "/sbin/nvme"].some(exists) || "nvme-cli is not installed";

/** Builds the C helper and names it for the guest. */
async function helper(): Promise<string> {
  const built = await buildNative("vfio_nvme");
  assert.ok("path" in built, "failure" in built ? built.failure : "");
  return nativeFileName("vfio_nvme")!;
}

/** Sections of the output, by the word after `== `. */
function sections(text: string): Record<string, string> {
  const parts = text.split(/^== (.+)\n/m).slice(1);
  return Object.fromEntries(
    Array.from({ length: parts.length / 2 }, (_, index) => [parts[2 * index]!, parts[2 * index + 1]!]),
  );
}

/** Of the controller whose errors are looked at: the byte that fails of its first namespace. */
const FAILING_BYTE = MIB;

/** Controllers of the driver's guest: the one that all tests use, one that fails, and two that go away. */
function driverDevices({ mdts, queuePairs }: NvmeConfiguration, images: NvmeDevice["namespaces"], dir: TempDir) {
  const plain = { kind: "nvme", mdts } as const;
  const devices: GuestDevice[] = [
    { ...plain, queuePairs, namespaces: images },
    {
      ...plain,
      namespaces: [
        { image: dir.sparse("failing.img", 2 * MIB), failingSector: FAILING_BYTE / 512 },
        { image: dir.sparse("read-only.img", MIB), readOnly: true },
      ],
    },
    { ...plain, pluggable: true, namespaces: [{ image: dir.sparse("unplugged.img", MIB) }] },
    { ...plain, pluggable: true, namespaces: [{ image: dir.sparse("pulled.img", MIB) }] },
  ];
  return devices;
}

/** What the kernel says of the controller, then the driver's cases. */
function driverScript(devices: readonly GuestDevice[], blocks: readonly number[]): string {
  const [address = "", ...others] = devices.map((_, index) => pciAddress(devices, index));
  const [faulty, ...plugged] = others;
  const variables = {
    ADDRESS: address,
    NAMESPACES: blocks.length,
    FULL: IS_MATRIX ? 1 : 0,
    FAULTY: faulty,
    FAILING_BYTE,
    PLUGGED: plugged.map((each, index) => `${each},${deviceId(2 + index)},${portAddress(2 + index)}`).join(" "),
  };
  const drivers = `for a in ${address} ${faulty}; do basename "$(readlink /sys/bus/pci/devices/$a/driver)"; done`;
  return `
    for a in ${address} ${others.join(" ")}; do
      for _ in $(seq 100); do [ -e /sys/bus/pci/devices/$a/nvme/nvme*/nvme*n1 ] && break; sleep 0.1; done
    done
    echo "== kernel"
    for n in ${nsids(blocks)}; do
      queue=$(echo /sys/bus/pci/devices/${address}/nvme/nvme*/nvme*n$n/queue)
      echo "$(cat $queue/logical_block_size) $(cat $queue/max_hw_sectors_kb)"
    done
    cat /sys/bus/pci/devices/${address}/nvme/nvme*/queue_count
    ${drivers}
    ${handToVfio(address)} || exit 9
    ${drivers}
    group=$(basename "$(readlink /sys/bus/pci/devices/${address}/iommu_group)")
    [ -c /dev/vfio/$group ] && ls /sys/kernel/iommu_groups/$group/devices | wc -l
    echo "== driver"
    ${others.map((each) => `${handToVfio(each)} || exit 9`).join("\n")}
    ${runInside("driver", variables)}
    ${readBack(address, blocks)}
    exit $code`;
}

/** The tools, next to nvme-cli, on a controller that the kernel has at first; then the suite and the model. */
function suiteScript(devices: readonly GuestDevice[], blocks: readonly number[]): string {
  const address = pciAddress(devices, 0);
  const tools = scriptCommand("tests/drivers/nvme/inside/tools.ts", address).join(" ").replace("-P ", "-P=test ");
  const variables = { ADDRESS: address, NAMESPACES: blocks.length, FULL: IS_MATRIX ? 1 : 0 };
  return `
    ${HAS_NVME_CLI === true ? `${tools} 2>&1; echo "tools ended with $?"` : ""}
    ${handToVfio(address)} || exit 9
    echo "== suite"
    ${runInside("suite", variables)}
    ${readBack(address, blocks)}
    exit $code`;
}

function nsids(blocks: readonly number[]): string {
  return blocks.map((_, index) => index + 1).join(" ");
}

function runInside(name: string, variables: Readonly<Record<string, unknown>>): string {
  return `
    ${Object.entries(variables).map(([key, value]) => `export PLUGIO_TEST_${key}='${value}'`).join("\n")}
    ${testCommand(`tests/drivers/nvme/inside/${name}.ts`).join(" ")}
    code=$?`;
}

/** The controller goes back to the kernel, which writes a block and reads all. */
function readBack(address: string, blocks: readonly number[]): string {
  return `
    ${giveBack(address)} || exit 8
    for _ in $(seq 100); do [ -e /dev/nvme0n${blocks.length} ] && break; sleep 0.1; done
    echo "== kernel again"
    dd if=/dev/urandom of=/dev/nvme0n1 bs=4k count=1 conv=fsync 2>/dev/null || exit 7
    for n in ${nsids(blocks)}; do sha256sum /dev/nvme0n$n | cut -d ' ' -f 1; done`;
}

/** Runs one guest of a configuration to its end. */
async function boot(
  cpus: number,
  devices: readonly GuestDevice[],
  script: string,
  programs: readonly string[] = [],
): Promise<GuestResult> {
  const job = {
    command: ["sh", "-c", script],
    iommu: true,
    devices,
    modules: VFIO_MODULES,
    cpus,
    programs,
    libraries: [await helper()],
    // The guest's own driver of hot-plug slots sees a controller that is pulled out; firmware would not.
    qemuArguments: ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"],
    timeoutMs: IS_MATRIX ? 600_000 : 360_000,
  };
  return await runGuestDespiteCrash(async () => {
    await using guest = await Guest.start(job);
    await guest.serveAsks();
    return await guest.finished();
  });
}

/** Asserts that the tests in the guest passed, and that its kernel read what is in the images. */
function checkGuest({ code, stdout, stderr }: GuestResult, section: string, images: NvmeDevice["namespaces"]): void {
  const parts = sections(stdout);
  const counts = readCounts(parts[section] ?? "", code === 0);
  assert.deepEqual([code, counts.failed, counts.skipped], [0, 0, 0], stdout + stderr);
  assert.ok(counts.passed >= 15, `${counts.passed} tests ran`);
  const sums = images.map(({ image }) => createHash("sha256").update(Deno.readFileSync(image)).digest("hex"));
  const read = parts["kernel again"]!.trim().split("\n");
  assert.deepEqual(read, sums.slice(0, read.length), "the guest read back something else than the host has");
  assert.notEqual(sums[0], sums[1]);
}

/** What the tools said in the first configuration, for the test after it. */
let tools: GuestResult | null = null;

for (const configuration of NVME_CONFIGURATIONS) {
  const { name, blocks, mdts, queuePairs, cpus } = configuration;
  testWhen(READY, `the driver on an emulated controller: ${name}`, async () => {
    using dir = new TempDir();
    // And one namespace more, which has metadata.
    const images = ["driver", "suite"].map((guest) => [
      ...blocks.map((blockBytes, index) => ({
        image: dir.sparse(`${guest}-${index}.img`, (16 + index) * MIB),
        blockBytes,
      })),
      { image: dir.sparse(`${guest}-metadata.img`, MIB), metadataBytes: 8 },
    ]);
    const devices = driverDevices(configuration, images[0]!, dir);
    const single: GuestDevice[] = [{ kind: "nvme", mdts, queuePairs, namespaces: images[1]! }];
    // A guest keeps one processor busy most of the time: two at once take little longer than one.
    const [driver, suite] = await Promise.all([
      boot(cpus, devices, driverScript(devices, blocks)),
      boot(cpus, single, suiteScript(single, blocks), HAS_NVME_CLI === true ? ["nvme"] : []),
    ]);
    tools ??= suite;
    checkGuest(driver, "driver", images[0]!);
    checkGuest(suite, "suite", images[1]!);
    assert.deepEqual((sections(driver.stdout)["kernel"] ?? "").trim().split("\n"), [
      ...blocks.map((blockBytes) => `${blockBytes} ${PAGE_KIB << mdts}`),
      `${Math.min(queuePairs, cpus) + 1}`,
      ...["nvme", "nvme", "vfio-pci", "nvme", "1"],
    ]);
  });
}

testWhen(
  READY === true ? HAS_NVME_CLI : READY,
  "the tools in a guest: they refuse, mend, undo, and print what nvme-cli prints",
  () => {
    assert.ok(tools !== null, "the guest of the tools did not end");
    assert.match(tools.stdout, /^tools ended with 0$/m);
    checkTools(sections(tools.stdout));
  },
);

function checkTools(out: Record<string, string>): void {
  const lines = (text = "") => text.split("\n").filter((line) => line !== "" && !line.startsWith("code ")).sort();
  for (const what of ["list", "id", "smart"]) assert.deepEqual(lines(out[`our ${what}`]), lines(out[`cli ${what}`]));
  assert.deepEqual(lines(out["vfio id"]), lines(out["cli id"]));
  const expected: readonly (readonly [section: string, pattern: RegExp])[] = [
    ["doctor before", /it is bound to nvme, not to vfio-pci\n +deno run -P cli.ts nvme bind .*\n[^]*code 1/],
    ["open before", /it is bound to nvme, not to vfio-pci; wanted: deno run -P cli.ts nvme bind .*\ncode 1/],
    ["bind in use", /Cannot bind .*: \/dev\/nvme0n2 is swap space .*; wanted it not in use\ncode 1/],
    ["doctor in use", /swapoff \/dev\/nvme0n2/],
    ["driver", /drivers\/nvme\n/],
    ["not nvme", /it has class 0x060000; wanted an NVMe controller .*\ncode 1/],
    ["no such device", /there is no such PCI device, wanted 0000:.*\ncode 1/],
    ["bind", /is now bound to vfio-pci\ncode 0/],
    ["bind again", /is already bound to vfio-pci\ncode 0/],
    ["doctor after", /ready for the nvme driver\n[^]*code 0/],
    ["metadata", /has 8 bytes of metadata with each block; wanted a format without\ncode 1/],
    ["no such namespace", /there is no such namespace; wanted .*\/1, .*\/2, .*\/3\ncode 1/],
    ["two jobs", /Cannot use --numjobs 2 on \S+: it takes one owner at a time, wanted 1\ncode 2/],
    ["randread", /IOPS[^]*code 0/i],
    ["unbind held", /a program has it open; wanted that program ended\ncode 1/],
    ["unbind", /is now bound to nvme\ncode 0/],
    ["driver after", /drivers\/nvme\n/],
  ];
  for (const [section, pattern] of expected) assert.match(out[section] ?? "", pattern, section);
}
