/**
 * Starts a virtual machine with Debian's kernel under QEMU's software emulation, lets it run one command, and brings
 * back exit code, output and files.
 *
 * @module
 */

import { join } from "node:path";
import { readCpio } from "./cpio.ts";
import { deviceArguments, sharesMemory } from "./devices.ts";
import { emulatorStart } from "./emulator.ts";
import { writeImage } from "./image.ts";
import { GuestError, type GuestJob, type GuestResult } from "./job.ts";
import { GuestKernel } from "./kernel.ts";
import { Qmp } from "./qmp.ts";

const MEMORY_MIB = 1024;
const CPUS = 2;
const TIMEOUT_MS = 300_000;
/** Between two looks at what the guest wrote. */
const LOOK_MS = 20;

/** Files on the host into which the guest's ports write, by port; `init.sh` has the other end. */
const PORTS = ["stdout", "stderr", "status", "files"] as const;

/** Runs the job to its end. A command that fails is a result; a guest that does not get there is a `GuestError`. */
export async function runGuest(job: GuestJob): Promise<GuestResult> {
  await using guest = await Guest.start(job);
  return await guest.finished();
}

/**
 * Runs the job to its end, once more if QEMU itself ends by a signal, which no guest can make it do by right. That is
 * said on standard error. What the command does, a panic, a guest that hangs: nothing of that is tried again.
 */
export async function runGuestDespiteCrash(run: () => Promise<GuestResult>): Promise<GuestResult> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof GuestError) || error.kind !== "crashed") throw error;
    const words = `guest: THE EMULATOR CRASHED, trying once more. ${error.message}\n`;
    Deno.stderr.writeSync(new TextEncoder().encode(words));
    return await run();
  }
}

/** A running guest. Disposing it ends the machine and removes its files, whatever state it is in. */
export class Guest implements AsyncDisposable {
  /** Commands to QEMU while the guest runs: unplug a disk, stop the machine. */
  readonly qmp: Qmp;
  readonly #dir: string;
  readonly #process: Deno.ChildProcess;
  readonly #ended: Promise<Deno.CommandStatus>;
  readonly #qemuErrors: Promise<string>;
  readonly #startedMs = performance.now();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #timeoutMs: number;
  #fate: "running" | "timeout" | "killed" | "ended" = "running";
  #elapsedMs = 0;

  private constructor(dir: string, process: Deno.ChildProcess, timeoutMs: number) {
    this.#dir = dir;
    this.#process = process;
    this.#timeoutMs = timeoutMs;
    this.qmp = new Qmp(process.stdin, process.stdout);
    this.#qemuErrors = new Response(process.stderr).text();
    // The image is in QEMU's memory by the time it answers; should this process be killed, little is left behind.
    this.qmp.ready.then(() => Deno.removeSync(join(dir, "image"))).catch(() => {});
    this.#timer = setTimeout(() => this.#kill("timeout"), timeoutMs);
    this.#ended = process.status.then((status) => {
      clearTimeout(this.#timer);
      this.#elapsedMs = performance.now() - this.#startedMs;
      if (this.#fate === "running") this.#fate = "ended";
      return status;
    });
  }

  /** Boots the guest; resolves once QEMU was started, long before the command runs. */
  static async start(job: GuestJob): Promise<Guest> {
    const dir = Deno.makeTempDirSync({ prefix: "plugio-guest-" });
    try {
      const kernel = new GuestKernel();
      await writeImage(join(dir, "image"), job, kernel);
      for (const name of [...PORTS, "console"]) Deno.writeTextFileSync(join(dir, name), "");
      const { command, env } = emulatorStart(job.emulator ?? "own");
      const process = new Deno.Command("setpriv", {
        // A test that is killed takes its machine along.
        args: ["--pdeathsig", "KILL", ...command, ...machineArguments(job, kernel, dir)],
        env,
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      return new Guest(dir, process, job.timeoutMs ?? TIMEOUT_MS);
    } catch (error) {
      Deno.removeSync(dir, { recursive: true });
      throw error;
    }
  }

  /** Waits for the end of the machine, and reads what it left. */
  async finished(): Promise<GuestResult> {
    const status = await this.#ended;
    await this.qmp.closed;
    // Its files are about to go.
    const gone = "Cannot finish the guest: it was disposed of before its end";
    if (this.#fate === "killed") throw new GuestError("killed", gone, { console: "", stdout: "", stderr: "" });
    const text = (name: string) => Deno.readTextFileSync(join(this.#dir, name));
    const [console, stdout, stderr, code] = [text("console"), text("stdout"), text("stderr"), text("status").trim()];
    const fail = (kind: GuestError["kind"], reason: string) =>
      new GuestError(kind, reason, { console, stdout, stderr });
    if (this.#fate === "timeout") throw fail("timeout", `Cannot wait longer than ${this.#timeoutMs} ms for the guest`);
    if (!/^\d+$/.test(code)) {
      // Its call trace may be longer than the lines that the error carries.
      const panic = /Kernel panic[^\r\n]*/.exec(console)?.[0];
      const words = (await this.#qemuErrors).trim();
      const { signal } = status;
      if (panic === undefined && signal !== null) {
        const reason = `Cannot get an exit code from the guest: QEMU itself ended by ${signal}`;
        throw fail("crashed", words === "" ? `${reason} and said nothing` : `${reason}; it said: ${words}`);
      }
      const said = panic ?? `QEMU: ${words || `code ${status.code}`}`;
      throw fail("died", `Cannot get an exit code from the guest: the machine ended before its command (${said})`);
    }
    const files = new Map(
      [...readCpio(Deno.readFileSync(join(this.#dir, "files")))].map(([path, bytes]) => [`/${path}`, bytes]),
    );
    return { code: Number(code), stdout, stderr, console, files, elapsedMs: this.#elapsedMs };
  }

  /** What the command has written so far. */
  output(port: "stdout" | "stderr" | "console" = "stdout"): string {
    return Deno.readTextFileSync(join(this.#dir, port));
  }

  /**
   * Runs what the command asks the host for until the machine ends: each line `host: {"execute":...}` of its output is
   * a command to QEMU. Rejects where QEMU refuses one.
   */
  async serveAsks(): Promise<void> {
    for (let served = 0; this.#fate === "running";) {
      // The last line may be half written.
      const asks = [...this.output().matchAll(/^host: (.+)\n/gm)].slice(served);
      served += asks.length;
      for (const [, text = ""] of asks) {
        const { execute, arguments: args } = JSON.parse(text) as {
          execute: string;
          arguments: Record<string, unknown>;
        };
        await this.qmp.execute(execute, args);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Resolves once the command's output matches; rejects if the machine ends before. */
  async until(pattern: RegExp): Promise<void> {
    while (this.#fate === "running") {
      if (pattern.test(this.output())) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    const { stdout } = await this.finished();
    if (!pattern.test(stdout)) throw new Error(`Cannot find ${pattern} in the output of the guest: its command ended`);
  }

  /** Process id of QEMU. */
  get pid(): number {
    return this.#process.pid;
  }

  #kill(fate: "timeout" | "killed"): void {
    if (this.#fate !== "running") return;
    this.#fate = fate;
    this.#process.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill("killed");
    await this.#ended;
    await this.qmp.closed;
    await this.#qemuErrors;
    Deno.removeSync(this.#dir, { recursive: true });
  }
}

const KERNEL_WORDS = [
  "console=ttyS0",
  "quiet",
  // A panic restarts at once, and a restart ends QEMU.
  "panic=-1",
  // What guards against neighbours on a processor empties its caches of addresses at each system call; emulated, that
  // makes programs a quarter slower, and there are no neighbours.
  "mitigations=off",
];

/**
 * All that the emulation knows, without the promise that moving bytes one by one is quick: kernel and C library would
 * copy and clear memory like that, and emulated it is several times slower than in words.
 */
const PROCESSOR = "max,-erms,-fsrm";

function machineArguments(job: GuestJob, kernel: GuestKernel, dir: string): string[] {
  const { devices = [], memoryMiB = MEMORY_MIB, cpus = CPUS, iommu = false } = job;
  const words = [...KERNEL_WORDS, ...iommu ? ["intel_iommu=on"] : [], ...job.kernelArguments ?? []];
  // A server of another process sees the guest's memory only where that is shared.
  const shared = devices.some(sharesMemory);
  const memory = `${shared ? "memory-backend-memfd,share=on" : "memory-backend-ram"},id=memory,size=${memoryMiB}M`;
  return [
    ...["-machine", "q35,kernel-irqchip=split,memory-backend=memory"],
    // Emulated everywhere, so that a run means the same on each machine.
    ...(job.countInstructions ? ["-accel", "tcg,thread=single", "-icount", "shift=0"] : ["-accel", "tcg,thread=multi"]),
    ...["-cpu", PROCESSOR, "-smp", String(cpus)],
    ...["-object", memory, "-m", `${memoryMiB}M`],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-chardev", "stdio,id=qmp,signal=off", "-mon", "chardev=qmp,mode=control"],
    ...["-serial", `file:${join(dir, "console")}`],
    ...["-kernel", kernel.image, "-initrd", join(dir, "image"), "-append", words.join(" ")],
    ...iommu ? ["-device", "intel-iommu,intremap=on,caching-mode=on"] : [],
    ...["-device", "virtio-serial-pci"],
    ...PORTS.flatMap((port) => [
      "-chardev",
      `file,id=${port},path=${join(dir, port)}`,
      "-device",
      `virtserialport,chardev=${port},name=${port}`,
    ]),
    ...deviceArguments(devices),
    ...job.qemuArguments ?? [],
  ];
}
