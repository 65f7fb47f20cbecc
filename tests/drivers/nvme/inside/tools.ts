/** Runs the command line's NVMe part in the guest, one process for all: each section of the output is one command. */
import { main } from "../../../../cli/main.ts";
import { openDevice } from "../../../../mod.ts";

const [address = ""] = Deno.args;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}

/** Runs a command of plugio under a heading. */
async function plugio(heading: string, ...args: string[]): Promise<void> {
  say(`== ${heading}\n`);
  say(`code ${await main(args)}\n`);
}

/** Runs a program under a heading. */
function program(heading: string, name: string, ...args: string[]): void {
  say(`== ${heading}\n`);
  const { stdout, stderr } = new Deno.Command(name, { args }).outputSync();
  say(new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
}

program("cli list", "nvme", "list");
await plugio("our list", "nvme", "list");
program("cli id", "nvme", "id-ctrl", "/dev/nvme0");
await plugio("our id", "nvme", "id", address);
program("cli smart", "nvme", "smart-log", "/dev/nvme0");
await plugio("our smart", "nvme", "smart", address);
await plugio("doctor before", "nvme", "doctor", address);
await plugio("open before", "randread", "--driver", "nvme", `${address}/1`, "--runtime", "1");
program("swap", "sh", "-c", "mkswap /dev/nvme0n2 && swapon /dev/nvme0n2");
await plugio("bind in use", "nvme", "bind", address);
await plugio("doctor in use", "nvme", "doctor", address);
program("driver", "readlink", `/sys/bus/pci/devices/${address}/driver`);
program("swap off", "swapoff", "/dev/nvme0n2");
await plugio("not nvme", "nvme", "bind", "0000:00:00.0");
await plugio("no such device", "nvme", "bind", "0000:00:1f.7");
await plugio("bind", "nvme", "bind", address);
await plugio("bind again", "nvme", "bind", address);
await plugio("doctor after", "nvme", "doctor");
await plugio("metadata", "randread", "--driver", "nvme", `${address}/3`, "--runtime", "1");
await plugio("no such namespace", "randread", `nvme:${address}/9`, "--runtime", "1");
await plugio("two jobs", "randread", `nvme:${address}/1`, "--numjobs", "2");
await plugio("vfio id", "nvme", "id", address);
await plugio("randread", "randread", "--driver", "nvme", `${address}/1`, "--runtime", "200ms", "--iodepth", "32");
{
  await using _disk = await openDevice(`nvme:${address}/1`);
  await plugio("unbind held", "nvme", "unbind", address);
}
await plugio("unbind", "nvme", "unbind", address);
program("driver after", "readlink", `/sys/bus/pci/devices/${address}/driver`);
