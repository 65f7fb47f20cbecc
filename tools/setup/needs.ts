/**
 * What a fresh machine may lack, as data: how to see it, and which package brings it.
 *
 * @module
 */

/** What a task is about to do; each purpose needs a different part of the table. */
export type Purpose = "run" | "test" | "bench" | "build" | "target";

/** All purposes, as the command line spells them. */
export const PURPOSES: readonly Purpose[] = ["run", "test", "bench", "build", "target"];

/** One thing to look for. A library may have another soname in later releases of a distribution. A header may bring a folder of its own, which has to be found next to it. */
export type Check =
  | { readonly kind: "library"; readonly soname: string; readonly laterSoname?: string }
  | { readonly kind: "header"; readonly name: string; readonly folder?: string }
  | { readonly kind: "command"; readonly name: string; readonly program: string; readonly compiler?: true }
  /** A file or folder of the unpacked packages themselves, which are never installed into the machine. */
  | { readonly kind: "unpacked"; readonly path: string };

/** The names under which a library may lie, the usual one first. */
export function sonamesOf({ soname, laterSoname }: Check & { readonly kind: "library" }): readonly string[] {
  return laterSoname === undefined ? [soname] : [soname, laterSoname];
}

/** One row: everything in `checks` has to be there, or the packages are needed. */
export interface Need {
  readonly id: string;
  readonly why: string;
  readonly purposes: readonly Purpose[];
  readonly checks: readonly Check[];
  /** Environment variable by which the user names a library file; a set variable counts as present. */
  readonly override?: string;
  /** Of all that apt would install for the packages, only the one of this name is fetched. */
  readonly onlyPackage?: RegExp;
  /**
   * The packages came to Debian with the release after the oldest one supported: they are unpacked into the project,
   * from that release where the machine's own has none.
   */
  readonly newInDebian?: true;
  /**
   * Programs of the release after the machine's, unpacked with everything that they need, the C library too: their own
   * loader starts them. From the machine's release where none is known to follow it.
   */
  readonly wholeFromNext?: true;
  readonly packages: {
    readonly debian: readonly string[];
    readonly fedora: readonly string[];
    readonly arch: readonly string[];
  };
}

/** Name of the need, and of the folder, that holds the next release's QEMU. */
export const NEXT_QEMU = "next-qemu";

/** The table; a later driver adds a row here. */
export const NEEDS: readonly Need[] = [
  {
    id: "liburing",
    why: "the io_uring driver",
    purposes: ["run", "test", "bench"],
    checks: [{ kind: "library", soname: "liburing.so.2" }],
    override: "PLUGIO_LIBURING",
    packages: { debian: ["liburing2"], fedora: ["liburing"], arch: ["liburing"] },
  },
  {
    id: "libaio",
    why: "the linux_aio driver",
    purposes: ["run", "test", "bench"],
    // Debian 13 and Ubuntu 24.04 renamed library and package; the new package answers to the old name.
    checks: [{ kind: "library", soname: "libaio.so.1", laterSoname: "libaio.so.1t64" }],
    override: "PLUGIO_LIBAIO",
    packages: { debian: ["libaio1"], fedora: ["libaio"], arch: ["libaio"] },
  },
  {
    id: "liburing-headers",
    why: "comparing struct layouts with C",
    purposes: ["test"],
    checks: [{ kind: "header", name: "liburing.h", folder: "liburing" }],
    packages: { debian: ["liburing-dev"], fedora: ["liburing-devel"], arch: ["liburing"] },
  },
  {
    id: "libblkio",
    why: "the blkio driver",
    purposes: ["run", "test", "bench"],
    checks: [{ kind: "library", soname: "libblkio.so.1" }],
    override: "PLUGIO_LIBBLKIO",
    newInDebian: true,
    packages: { debian: ["libblkio1"], fedora: ["libblkio"], arch: ["libblkio"] },
  },
  {
    id: "libblkio-headers",
    why: "comparing struct layouts with C, and libblkio's own benchmark",
    purposes: ["test", "bench"],
    checks: [{ kind: "header", name: "blkio.h" }],
    newInDebian: true,
    packages: { debian: ["libblkio-dev"], fedora: ["libblkio-devel"], arch: ["libblkio"] },
  },
  {
    id: "storage-daemon",
    why: "vhost-user servers, and targets that are slow, faulty or throttled",
    purposes: ["test", "bench", "target"],
    checks: [{ kind: "command", name: "qemu-storage-daemon", program: "qemu-storage-daemon" }],
    packages: { debian: ["qemu-system-common"], fedora: ["qemu-img"], arch: ["qemu-storage-daemon"] },
  },
  {
    id: "compiler",
    why: "comparing struct layouts with C, libblkio's own benchmark, and the C helper of the NVMe driver",
    purposes: ["test", "bench", "build"],
    checks: [
      { kind: "command", name: "cc", program: "gcc", compiler: true },
      // A compiler without the C library's headers is common in small images.
      { kind: "header", name: "stdio.h" },
    ],
    packages: { debian: ["gcc", "libc6-dev"], fedora: ["gcc", "glibc-devel"], arch: ["gcc", "glibc"] },
  },
  {
    id: "clang",
    why: "running the C helper of the NVMe driver under clang's sanitizers",
    purposes: ["test"],
    checks: [{ kind: "command", name: "clang", program: "clang", compiler: true }],
    // The sanitizers' libraries are a package of their own, here by the name that fits the release's clang.
    packages: {
      debian: ["clang", "libclang-rt-dev", "gcc", "libc6-dev"],
      fedora: ["clang", "compiler-rt"],
      arch: ["clang", "compiler-rt"],
    },
  },
  {
    id: "libnvme-headers",
    why: "comparing NVMe's structures with C",
    purposes: ["test"],
    checks: [{ kind: "header", name: "libnvme.h", folder: "nvme" }],
    packages: { debian: ["libnvme-dev"], fedora: ["libnvme-devel"], arch: ["libnvme"] },
  },
  {
    id: "nvme-cli",
    why: "comparing the NVMe commands with those of nvme-cli",
    purposes: ["test"],
    checks: [{ kind: "command", name: "nvme", program: "nvme" }],
    packages: { debian: ["nvme-cli"], fedora: ["nvme-cli"], arch: ["nvme-cli"] },
  },
  {
    id: "fio",
    why: "the benchmark's yardstick",
    purposes: ["test", "bench"],
    checks: [{ kind: "command", name: "fio", program: "fio" }],
    packages: { debian: ["fio"], fedora: ["fio"], arch: ["fio"] },
  },
  {
    id: "qemu",
    why: "the tests in a virtual machine",
    purposes: ["test"],
    checks: [
      { kind: "command", name: "qemu-system-x86_64", program: "qemu-system-x86_64" },
      // It serves disks to the machine; on Debian it comes with the former.
      { kind: "command", name: "qemu-storage-daemon", program: "qemu-storage-daemon" },
    ],
    packages: {
      // Those that the first depends on are named, too: unpacked, it finds its parts only next to itself.
      debian: ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"],
      fedora: ["qemu-system-x86-core"],
      arch: ["qemu-system-x86"],
    },
  },
  {
    id: NEXT_QEMU,
    why: "the tests in a virtual machine, with the next QEMU and with firmware",
    purposes: ["test"],
    checks: [
      { kind: "unpacked", path: "usr/bin/qemu-system-x86_64" },
      { kind: "unpacked", path: "usr/bin/qemu-io" },
      { kind: "unpacked", path: "usr/share/OVMF/OVMF_CODE_4M.fd" },
    ],
    wholeFromNext: true,
    packages: {
      // The third has QEMU's blkio driver.
      debian: ["qemu-system-x86", "qemu-utils", "qemu-block-extra", "ovmf"],
      fedora: ["qemu-system-x86-core", "qemu-img", "qemu-block-blkio", "edk2-ovmf"],
      arch: ["qemu-system-x86", "qemu-img", "edk2-ovmf"],
    },
  },
  {
    id: "busybox",
    why: "the shell of the virtual machine",
    purposes: ["test"],
    checks: [{ kind: "command", name: "busybox", program: "busybox" }],
    packages: { debian: ["busybox-static"], fedora: ["busybox"], arch: ["busybox"] },
  },
  {
    id: "guest-kernel",
    why: "the kernel of the virtual machine",
    purposes: ["test"],
    checks: [{ kind: "unpacked", path: "boot" }],
    // The meta package names the kernel of the day; its other dependencies serve a machine that boots from a disk.
    onlyPackage: /^linux-image-\d/,
    packages: { debian: ["linux-image-amd64"], fedora: ["kernel-core"], arch: ["linux"] },
  },
  {
    id: "user-mode-linux",
    why: "the guest that runs as a process",
    purposes: ["test"],
    checks: [{ kind: "unpacked", path: "usr/bin/linux.uml" }],
    onlyPackage: /^user-mode-linux$/,
    // Fedora has none.
    packages: { debian: ["user-mode-linux"], fedora: [], arch: ["linux-usermode"] },
  },
  {
    id: "qemu-img",
    why: "measuring next to QEMU's block layer",
    purposes: ["test"],
    checks: [{ kind: "command", name: "qemu-img", program: "qemu-img" }],
    packages: { debian: ["qemu-utils"], fedora: ["qemu-img"], arch: ["qemu-img"] },
  },
  {
    id: "nbdkit",
    why: "NBD servers to test against",
    purposes: ["test", "bench"],
    checks: [{ kind: "unpacked", path: "usr/bin/nbdkit" }],
    // Its other dependencies are those of plugins that no test loads.
    onlyPackage: /^nbdkit$/,
    packages: { debian: ["nbdkit"], fedora: ["nbdkit"], arch: ["nbdkit"] },
  },
  {
    id: "libnbd-tools",
    why: "NBD clients to test with",
    purposes: ["test"],
    checks: [{ kind: "unpacked", path: "usr/bin/nbdinfo" }, { kind: "unpacked", path: "usr/bin/nbdcopy" }],
    onlyPackage: /^libnbd-bin$/,
    packages: { debian: ["libnbd-bin"], fedora: ["libnbd"], arch: ["libnbd"] },
  },
  {
    id: "iscsi-test-cu",
    why: "testing the SCSI disk with libiscsi's conformance suite",
    purposes: ["test"],
    checks: [{ kind: "command", name: "iscsi-test-cu", program: "iscsi-test-cu" }],
    packages: { debian: ["libiscsi-bin"], fedora: ["libiscsi-utils"], arch: ["libiscsi"] },
  },
  {
    id: "sg3-utils",
    why: "sending single commands to the SCSI disk",
    purposes: ["test"],
    checks: [
      { kind: "command", name: "sg_raw", program: "sg_raw" },
      { kind: "command", name: "sg_unmap", program: "sg_unmap" },
    ],
    packages: { debian: ["sg3-utils"], fedora: ["sg3_utils"], arch: ["sg3_utils"] },
  },
  {
    id: "btrfs",
    why: "serving images on btrfs",
    purposes: ["test"],
    checks: [{ kind: "command", name: "mkfs.btrfs", program: "mkfs.btrfs" }],
    packages: { debian: ["btrfs-progs"], fedora: ["btrfs-progs"], arch: ["btrfs-progs"] },
  },
  {
    id: "xfs",
    why: "serving images on XFS that share blocks with a snapshot",
    purposes: ["test"],
    checks: [{ kind: "command", name: "mkfs.xfs", program: "mkfs.xfs" }],
    packages: { debian: ["xfsprogs"], fedora: ["xfsprogs"], arch: ["xfsprogs"] },
  },
  {
    id: "chromium",
    why: "looking at the report in a browser",
    purposes: ["test"],
    checks: [{ kind: "command", name: "chromium", program: "chromium" }],
    packages: { debian: ["chromium"], fedora: ["chromium"], arch: ["chromium"] },
  },
];
