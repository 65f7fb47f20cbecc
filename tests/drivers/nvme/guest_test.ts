/** The driver in a virtual machine, on QEMU's NVMe controller behind an emulated IOMMU; and next to nvme-cli. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { nativeFileName } from "../../../ffi/native.ts";
import { buildNative } from "../../../tools/build_nvme.ts";
import { readCounts } from "../../../tools/run_tests.ts";
import { exists } from "../../../tools/setup/present.ts";
import {
  type GuestDevice,
  guestReady,
  pciAddress,
  runGuest,
  scriptCommand,
  testCommand,
  VFIO_MODULES,
} from "../../guest/mod.ts";
import "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;
const READY = guestReady();
/** nvme-cli of the distribution, for comparison. */
const HAS_NVME_CLI = ["/usr/sbin/nvme", "/sbin/nvme"].some(exists) || "nvme-cli is not installed";
const CLI = "deno run -q -P --no-check --cached-only cli.ts";

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

testWhen(READY, "on an emulated controller: data, sharing, doorbells, dead Workers, killed processes", async () => {
  using dir = new TempDir();
  const images = [dir.sparse("a.img", 16 * MIB), dir.sparse("b.img", 16 * MIB)] as const;
  const devices: GuestDevice[] = [{
    kind: "nvme",
    mdts: 3,
    queuePairs: 4,
    namespaces: [{ image: images[0] }, { image: images[1], blockBytes: 4096 }],
  }];
  const address = pciAddress(devices, 0);
  const script = `
    ${CLI} nvme bind ${address} || exit 9
    PLUGIO_TEST_NVME=${address} PLUGIO_TEST_NAMESPACES=2 ${testCommand("tests/drivers/nvme/inside/cases.ts").join(" ")}
    code=$?
    ${CLI} nvme unbind ${address} || exit 8
    for disk in nvme0n1 nvme0n2; do echo "$disk=$(sha256sum /dev/$disk | cut -d ' ' -f 1)"; done
    exit $code`;
  const { code, stdout, stderr } = await runGuest({
    command: ["sh", "-c", script],
    iommu: true,
    devices,
    modules: VFIO_MODULES,
    libraries: [await helper()],
  });
  const counts = readCounts(stdout, code === 0);
  assert.deepEqual([code, counts.failed, counts.skipped], [0, 0, 0], stdout + stderr);
  assert.ok(counts.passed >= 12, `${counts.passed} tests ran`);
  for (const [index, image] of images.entries()) {
    const sum = createHash("sha256").update(Deno.readFileSync(image)).digest("hex");
    assert.ok(stdout.includes(`nvme0n${index + 1}=${sum}`), "the guest read back something else than the host has");
  }
});

testWhen(
  READY === true ? HAS_NVME_CLI : READY,
  "the tools in a guest: they refuse, mend, undo, and print what nvme-cli prints",
  async () => {
    using dir = new TempDir();
    const devices: GuestDevice[] = [{
      kind: "nvme",
      namespaces: [
        { image: dir.sparse("a.img", 16 * MIB) },
        { image: dir.sparse("b.img", 32 * MIB), blockBytes: 4096 },
        { image: dir.sparse("c.img", 16 * MIB), metadataBytes: 8 },
      ],
    }];
    const script = scriptCommand("tests/drivers/nvme/inside/tools.ts", pciAddress(devices, 0)).join(" ");
    const { code, stdout } = await runGuest({
      command: ["sh", "-c", `${script.replace("-P ", "-P=test ")} 2>&1`],
      iommu: true,
      devices,
      modules: VFIO_MODULES,
      programs: ["nvme"],
      libraries: [await helper()],
    });
    assert.equal(code, 0, stdout);
    checkTools(sections(stdout));
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
