import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { type Need, NEEDS, NEXT_QEMU } from "../../tools/setup/needs.ts";
import { exists, isPresent, type Places, TRIPLET } from "../../tools/setup/present.ts";
import { hasNextRelease, writeNextRelease } from "../../tools/setup/next_release.ts";
import { manualInstruction } from "../../tools/setup.ts";
import { Scratch, type ScratchResult } from "../support/scratch.ts";

const need = (id: string): Need => NEEDS.find((need) => need.id === id) as Need;

/** A machine with nothing on it, as a folder. */
function bareMachine(scratch: Scratch, env: Record<string, string> = {}): Places {
  const systemRoot = join(scratch.dir, "machine");
  return { nativeDir: join(scratch.dir, ".native"), localOnly: false, systemRoot, env: (name) => env[name] };
}

Deno.test("each need is missing on a bare machine and present once its files are there", () => {
  const files: [id: string, paths: string[]][] = [
    ["liburing", [`machine/usr/lib/${TRIPLET}/liburing.so.2`]],
    ["liburing", ["machine/usr/lib64/liburing.so.2"]],
    ["liburing", [".native/lib/liburing.so.2"]],
    ["liburing-headers", ["machine/usr/include/liburing.h"]],
    ["compiler", ["machine/usr/bin/cc", "machine/usr/include/stdio.h"]],
    ["compiler", [".native/bin/cc"]],
    ["fio", ["machine/bin/fio"]],
    ["guest-kernel", [".native/unpacked/guest-kernel/boot/vmlinuz-6"]],
    ["user-mode-linux", [".native/unpacked/user-mode-linux/usr/bin/linux.uml"]],
    [
      NEXT_QEMU,
      ["usr/bin/qemu-system-x86_64", "usr/bin/qemu-io", "usr/share/OVMF/OVMF_CODE_4M.fd"]
        .map((path) => `.native/unpacked/${NEXT_QEMU}/${path}`),
    ],
    ["libblkio", [`machine/usr/lib/${TRIPLET}/libblkio.so.1`]],
    ["libblkio", [".native/lib/libblkio.so.1"]],
    ["libblkio-headers", ["machine/usr/include/blkio.h"]],
    ["storage-daemon", ["machine/bin/qemu-storage-daemon"]],
    ["libaio", [`machine/usr/lib/${TRIPLET}/libaio.so.1`]],
    ["libaio", [`machine/usr/lib/${TRIPLET}/libaio.so.1t64`]],
    ["libaio", [".native/lib/libaio.so.1t64"]],
  ];
  for (const [id, paths] of files) {
    using scratch = new Scratch();
    const places = bareMachine(scratch);
    for (const path of paths) {
      strictEqual(isPresent(need(id), places), false, `${id} before ${path}`);
      scratch.write(path, "");
    }
    strictEqual(isPresent(need(id), places), true, `${id} with ${paths.join(", ")}`);
  }
});

Deno.test("a library in a folder that only the linker's cache knows is found, while its file exists", () => {
  using scratch = new Scratch();
  const places = bareMachine(scratch);
  scratch.write("machine/etc/ld.so.cache", "glibc-ld.so.cache1.1\0liburing.so.2\0/opt/odd/liburing.so.2\0");
  strictEqual(isPresent(need("liburing"), places), false);
  scratch.write("machine/opt/odd/liburing.so.2", "");
  strictEqual(isPresent(need("liburing"), places), true);
});

Deno.test("a library that the user names counts as present, except where the local way is forced", () => {
  using scratch = new Scratch();
  const places = bareMachine(scratch, { PLUGIO_LIBURING: "/opt/odd/liburing.so" });
  strictEqual(isPresent(need("liburing"), places), true);
  strictEqual(isPresent(need("liburing"), { ...places, localOnly: true }), false);
});

Deno.test("without apt one line names the packages of each distribution", () => {
  const line = manualInstruction([need("liburing"), need("liburing-headers")]);
  match(line, /liburing2 liburing-dev \(Debian, Ubuntu\), liburing liburing-devel \(Fedora\), liburing \(Arch\)/);
  match(line, /PLUGIO_LIBURING=/);
  ok(!line.includes("\n"));
});

/** Stands in for apt-get: knows no package before `update`, then "downloads" text files. */
const FAKE_APT = `#!/bin/sh
echo "$@" >> calls.log
for word in "$@"; do last=$word; done
case " $* " in
  *" update "*) touch ../../updated ./updated; exit 0 ;;
  *" -s "*) [ -e updated ] || { echo "E: Unable to locate package $last" >&2; exit 100; }
    [ "$last" != libaio1 ] || { echo "Note, selecting 'libaio1t64' instead of 'libaio1'"; last=libaio1t64; }
    echo "Inst $last (1.0 fake)" ;;
  *" download "*) [ "$last" != libaio1 ] || { echo "E: Can't select candidate version" >&2; exit 100; }
    [ -z "$FAKE_BROKEN" ] || { echo "E: 404" >&2; exit 100; }
    echo deb > "$last.deb" ;;
  *) exit 1 ;;
esac
`;

/** Stands in for dpkg -x: every package holds the library and the headers. */
const FAKE_DPKG = `#!/bin/sh
mkdir -p "$3/usr/lib/${TRIPLET}" "$3/usr/include/liburing"
echo library > "$3/usr/lib/${TRIPLET}/liburing.so.2.3"
echo library > "$3/usr/lib/${TRIPLET}/libblkio.so.1"
echo library > "$3/usr/lib/${TRIPLET}/libaio.so.1t64"
ln -s liburing.so.2.3 "$3/usr/lib/${TRIPLET}/liburing.so.2"
echo header | tee "$3/usr/include/liburing.h" > "$3/usr/include/liburing/io_uring.h"
`;

function writeFakes(scratch: Scratch): void {
  scratch.write("fakes/apt-get", FAKE_APT, 0o755);
  scratch.write("fakes/dpkg", FAKE_DPKG, 0o755);
}

function setUp(scratch: Scratch, purpose: string, env: Record<string, string> = {}): Promise<ScratchResult> {
  const PATH = [join(scratch.dir, "fakes"), Deno.env.get("PATH")].join(":");
  return scratch.deno(["run", "-q", "-P=setup", "tools/setup.ts", purpose], { PATH, PLUGIO_SETUP: "local", ...env });
}

Deno.test("the local way unpacks, fetches lists when there are none, and is silent the second time", async () => {
  using scratch = new Scratch();
  writeFakes(scratch);
  const first = await setUp(scratch, "run");
  strictEqual(first.code, 0, first.stderr);
  match(
    first.stderr,
    new RegExp(
      "^setup: unpacking liburing2 .*\\nsetup: fetching package lists into \\.native\\n" +
        "setup: unpacking libaio1 .*\\nsetup: unpacking libblkio1 .*\\n$",
    ),
  );
  const library = join(scratch.dir, ".native/lib/liburing.so.2");
  strictEqual(Deno.readTextFileSync(library), "library\n");
  strictEqual(Deno.lstatSync(library).isFile, true);
  deepStrictEqual(await setUp(scratch, "run"), { code: 0, stdout: "", stderr: "" });
});

Deno.test("two set-ups at once both succeed and leave no drafts", async () => {
  using scratch = new Scratch();
  writeFakes(scratch);
  const results = await Promise.all([1, 2, 3].map(() => setUp(scratch, "run")));
  for (const { code, stderr } of results) strictEqual(code, 0, stderr);
  const left = [...Deno.readDirSync(join(scratch.dir, ".native"))].map((entry) => entry.name).sort();
  deepStrictEqual(left, ["lib", "unpacked"]);
  deepStrictEqual([...Deno.readDirSync(join(scratch.dir, ".native/lib"))].map((e) => e.name).sort(), [
    "libaio.so.1t64",
    "libblkio.so.1",
    "liburing.so.2",
  ]);
});

Deno.test("a download that fails says why, exits 1 and leaves nothing half made", async () => {
  using scratch = new Scratch();
  writeFakes(scratch);
  const { code, stderr } = await setUp(scratch, "run", { FAKE_BROKEN: "1" });
  strictEqual(code, 1);
  match(stderr, /could not unpack liburing2: apt-get: E: 404/);
  match(stderr, /Cannot set up liburing, libaio, libblkio: expected the packages liburing2 libaio1 libblkio1 /);
  deepStrictEqual([...Deno.readDirSync(join(scratch.dir, ".native"))], []);
});

Deno.test("a package without the promised file is refused", async () => {
  using scratch = new Scratch();
  writeFakes(scratch);
  scratch.write("fakes/dpkg", "#!/bin/sh\nexit 0\n", 0o755);
  const { code, stderr } = await setUp(scratch, "run");
  strictEqual(code, 1);
  match(stderr, /^setup: could not unpack liburing2: Cannot find liburing\.so\.2 in liburing2: expected it in /m);
  deepStrictEqual([...Deno.readDirSync(join(scratch.dir, ".native"))].map((e) => e.name), ["unpacked"]);
});

/** Stands in for apt-get where a package is named by another: the simulation lists the one that is wanted and more. */
function fakeKernelApt(kernels: string[]): string {
  return `#!/bin/sh
case " $* " in
  *" update "*) exit 0 ;;
  *" -s "*linux-image*) echo "$@" >> kernel.log; for name in kmod ${kernels.join(" ")} linux-image-amd64; do
    echo "Inst $name (6.1 fake)"; done ;;
  *" -s "*) for last in "$@"; do :; done; echo "Inst $last (1.0 fake)" ;;
  *" download "*) for name in "$@"; do case $name in linux-*|kmod) echo deb > "$name.deb" ;; esac; done ;;
  *) exit 1 ;;
esac
`;
}

/** Stands in for dpkg -x: a kernel package holds an image of its name, another one a file that must not be there. */
const FAKE_KERNEL_DPKG = `#!/bin/sh
mkdir -p "$3/boot"
touch "$3/boot/$(basename "$2" .deb)"
`;

/** Only the kernel is missing. */
function setUpKernel(scratch: Scratch, kernels: string[]): Promise<ScratchResult> {
  scratch.write("fakes/apt-get", fakeKernelApt(kernels), 0o755);
  scratch.write("fakes/dpkg", FAKE_KERNEL_DPKG, 0o755);
  return setUpWithout(scratch, "guest-kernel");
}

/** Only this need is missing: what the machine has of the rest is found, the rest has a file of its name. */
function setUpWithout(scratch: Scratch, missing: string): Promise<ScratchResult> {
  for (const { id, checks } of NEEDS) {
    if (id === missing) continue;
    for (const check of checks) {
      if (check.kind === "unpacked") scratch.write(`.native/unpacked/${id}/${check.path}/file`, "");
      if (check.kind === "command") scratch.write(`.native/bin/${check.name}`, "");
      if (check.kind === "library") scratch.write(`.native/lib/${check.soname}`, "");
      if (check.kind === "header") scratch.write(`.native/include/${check.name}`, "");
    }
  }
  return setUp(scratch, "test", { PLUGIO_SETUP: "" });
}

Deno.test("exactly one kernel is fetched and unpacked, also by root, and nothing that it depends on", async () => {
  using scratch = new Scratch();
  const { code, stderr } = await setUpKernel(scratch, ["linux-image-6.1.0-9-amd64"]);
  deepStrictEqual([code, stderr], [
    0,
    "setup: unpacking linux-image-amd64 into .native (needed for the kernel of the virtual machine)\n",
  ]);
  const boot = join(scratch.dir, ".native/unpacked/guest-kernel/boot");
  deepStrictEqual([...Deno.readDirSync(boot)].map((entry) => entry.name), ["linux-image-6.1.0-9-amd64"]);
});

Deno.test("where apt names no kernel, or two, nothing is fetched", async () => {
  for (const kernels of [[], ["linux-image-6.1.0-9-amd64", "linux-image-6.1.0-8-amd64"]]) {
    using scratch = new Scratch();
    const { code, stderr } = await setUpKernel(scratch, kernels);
    strictEqual(code, 1);
    match(stderr, /could not unpack linux-image-amd64: apt-get: found .* expected exactly one package/);
  }
});

/** Stands in for apt-get where a program comes with all that it needs. */
const FAKE_NEXT_APT = `#!/bin/sh
echo "$@" >> calls.log
case " $* " in
  *" -s "*) for name in libc6 qemu-system-x86 libglib2.0-0t64; do echo "Inst $name (1.0 fake)"; done ;;
  *" download "*) for name in libc6 qemu-system-x86 qemu-utils; do echo deb > "$name.deb"; done
    echo "$@" > ../../../../downloaded ;;
esac
`;

Deno.test("the next release's QEMU comes with all that it needs, the C library too, and is not installed by root", async () => {
  using scratch = new Scratch();
  scratch.write("fakes/apt-get", FAKE_NEXT_APT, 0o755);
  const files = need(NEXT_QEMU).checks.flatMap((check) => check.kind === "unpacked" ? [check.path] : []);
  const lines = files.map((path) => `mkdir -p "$3/$(dirname ${path})"; touch "$3/${path}"`);
  scratch.write("fakes/dpkg", `#!/bin/sh\n${lines.join("\n")}\n`, 0o755);
  const { code, stderr } = await setUpWithout(scratch, NEXT_QEMU);
  deepStrictEqual([code, /apt-get$|could not/m.test(stderr)], [0, false], stderr);
  const downloaded = Deno.readTextFileSync(join(scratch.dir, "downloaded"));
  match(downloaded, / download .*\blibc6\b/);
  strictEqual(/Dir::Etc::SourceParts=/.test(downloaded), hasNextRelease());
  for (const path of files) ok(exists(join(scratch.dir, ".native/unpacked", NEXT_QEMU, path)));
});

Deno.test("the next release's sources are the machine's own with another name, apart from them", () => {
  using scratch = new Scratch();
  scratch.write("machine/etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n");
  scratch.write("machine/etc/apt/sources.list", "deb mirror:/debian bookworm main\n");
  scratch.write("machine/etc/apt/sources.list.d/more.sources", "URIs: mirror:/debian\nSuites: bookworm-updates\n");
  const next = writeNextRelease(join(scratch.dir, "work"), join(scratch.dir, "machine"));
  ok(typeof next === "object");
  strictEqual(next.release, "trixie");
  const written = (name: string) => Deno.readTextFileSync(join(scratch.dir, "work/sources", name));
  strictEqual(written("main.list"), "deb mirror:/debian trixie main\n");
  strictEqual(written("more.sources"), "URIs: mirror:/debian\nSuites: trixie-updates\n");
  ok(next.options.includes("Dir::Etc::SourceList=/dev/null"));
  ok(next.options.includes(`Dir::State::Lists=${join(scratch.dir, "work/next-lists")}`));
});

Deno.test("a release without a known successor is told by name", () => {
  using scratch = new Scratch();
  scratch.write("machine/etc/os-release", "VERSION_CODENAME=noble\n");
  strictEqual(
    writeNextRelease(join(scratch.dir, "work"), join(scratch.dir, "machine")),
    'no later release is known for "noble"',
  );
});

Deno.test("wrong use exits 2 with one line", async () => {
  using scratch = new Scratch();
  const purpose = await setUp(scratch, "walk");
  deepStrictEqual([purpose.code, purpose.stderr], [
    2,
    'Cannot set up "walk": expected one of run, test, bench, build, target\n',
  ]);
  const mode = await setUp(scratch, "run", { PLUGIO_SETUP: "remote" });
  deepStrictEqual([mode.code, mode.stderr], [2, 'Cannot use PLUGIO_SETUP="remote": expected "local" or no value\n']);
});
