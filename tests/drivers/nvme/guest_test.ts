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
  giveBack,
  type GuestDevice,
  guestReady,
  type GuestResult,
  handToVfio,
  pciAddress,
  runGuest,
  scriptCommand,
  testCommand,
  VFIO_MODULES,
} from "../../guest/mod.ts";
import { IS_MATRIX, NVME_CONFIGURATIONS, type NvmeConfiguration } from "../../guest/nvme_configurations.ts";
import "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;
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

/** The driver's cases, the suite and the model; then the controller goes back to the kernel, which reads it all. */
function driverScript(address: string, blocks: readonly number[]): string {
  const tests = ["cases", "suite"].map((name) => `tests/drivers/nvme/inside/${name}.ts`);
  const variables = { ADDRESS: address, NAMESPACES: blocks.length, FULL: IS_MATRIX ? 1 : 0 };
  return `
    ${Object.entries(variables).map(([name, value]) => `export PLUGIO_TEST_${name}=${value}`).join("\n")}
    ${handToVfio(address)} || exit 9
    ${testCommand(...tests).join(" ")}
    code=$?
    ${giveBack(address)} || exit 8
    for _ in $(seq 100); do [ -e /dev/nvme0n${blocks.length} ] && break; sleep 0.1; done
    for n in ${blocks.map((_, index) => index + 1).join(" ")}; do
      echo "nvme0n$n=$(sha256sum /dev/nvme0n$n | cut -d ' ' -f 1)"
    done
    exit $code`;
}

/** All commands of the tools, next to nvme-cli, on a controller that the kernel has at first. */
function toolsScript(address: string): string {
  return scriptCommand("tests/drivers/nvme/inside/tools.ts", address).join(" ").replace("-P ", "-P=test ") + " 2>&1";
}

/** Boots a guest with the configuration's controller and one namespace more, which has metadata. */
async function boot(
  { blocks, mdts, queuePairs, cpus }: NvmeConfiguration,
  dir: TempDir,
  script: (address: string, blocks: readonly number[]) => string,
  programs: readonly string[] = [],
): Promise<GuestResult> {
  const namespaces = [
    ...blocks.map((blockBytes, index) => ({ image: dir.sparse(`${index}.img`, (index + 1) * 16 * MIB), blockBytes })),
    { image: dir.sparse("metadata.img", 16 * MIB), metadataBytes: 8 },
  ];
  const devices: GuestDevice[] = [{ kind: "nvme", mdts, queuePairs, namespaces }];
  return await runGuest({
    command: ["sh", "-c", script(pciAddress(devices, 0), blocks)],
    iommu: true,
    devices,
    modules: VFIO_MODULES,
    cpus,
    programs,
    libraries: [await helper()],
    timeoutMs: IS_MATRIX ? 600_000 : 180_000,
  });
}

/** What the tools did, for the test after the first. */
let tools: GuestResult | null = null;

for (const [index, configuration] of NVME_CONFIGURATIONS.entries()) {
  testWhen(READY, `the driver on an emulated controller: ${configuration.name}`, async () => {
    using dir = new TempDir();
    using toolsDir = new TempDir();
    // A guest keeps one processor busy most of the time, so the second one costs little.
    const hasTools = index === 0 && HAS_NVME_CLI === true;
    const [driver, toolsResult] = await Promise.all([
      boot(configuration, dir, driverScript),
      hasTools ? boot(configuration, toolsDir, toolsScript, ["nvme"]) : null,
    ]);
    tools ??= toolsResult;
    const { code, stdout, stderr } = driver;
    const counts = readCounts(stdout, code === 0);
    assert.deepEqual([code, counts.failed, counts.skipped], [0, 0, 0], stdout + stderr);
    assert.ok(counts.passed >= 40, `${counts.passed} tests ran`);
    for (const nsid of configuration.blocks.keys()) {
      const sum = createHash("sha256").update(Deno.readFileSync(`${dir.path}/${nsid}.img`)).digest("hex");
      assert.ok(stdout.includes(`nvme0n${nsid + 1}=${sum}`), "the guest read back something else than the host has");
    }
  });
}

testWhen(
  READY === true ? HAS_NVME_CLI : READY,
  "the tools in a guest: they refuse, mend, undo, and print what nvme-cli prints",
  () => {
    assert.ok(tools !== null, "the guest of the tools did not end");
    assert.equal(tools.code, 0, tools.stdout);
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
