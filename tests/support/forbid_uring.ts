/**
 * A process that may not use io_uring, or other system calls, for real: a small C program installs a seccomp filter and runs a command under
 * it.
 *
 * @module
 */

import { join } from "node:path";

/** The first and the last number of the system calls that are forbidden. */
export type CallRange = readonly [first: number, last: number];

/** io_uring_setup, _enter and _register, on every architecture. */
const URING: CallRange = [425, 427];

/** timerfd_create. */
export const TIMERFD: CallRange = Deno.build.arch === "aarch64" ? [85, 85] : [283, 283];

/** What the filter answers to the system calls. */
export type Refusal = "EPERM" | "ENOSYS" | "kill";

const REFUSALS: Readonly<Record<Refusal, string>> = {
  EPERM: "SECCOMP_RET_ERRNO | EPERM",
  ENOSYS: "SECCOMP_RET_ERRNO | ENOSYS",
  kill: "SECCOMP_RET_KILL_PROCESS",
};

const source = (refusal: Refusal, [first, last]: CallRange) => `
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ${first}, 0, 2),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, ${last}, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, ${REFUSALS[refusal]}),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { sizeof code / sizeof *code, code };
  if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 125;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 126;
  execv(argv[1], argv + 1);
  return 127;
}
`;

/** True if there is a compiler, else the reason for skipping. */
export async function canForbidUring(): Promise<true | string> {
  return await commandWorks("cc", ["--version"]) || "there is no C compiler";
}

/** True if the command can be run and ends with 0. */
export async function commandWorks(name: string, args: readonly string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(name, { args: [...args], stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** Builds the launcher in `folder`; run it with the command and its arguments as its own. */
export async function buildLauncher(folder: string, refusal: Refusal, calls = URING): Promise<string> {
  const input = join(folder, `${refusal}.c`);
  const output = join(folder, `forbid_${refusal}`);
  Deno.writeTextFileSync(input, source(refusal, calls));
  const { success, stderr } = await new Deno.Command("cc", { args: ["-Wall", "-Werror", "-o", output, input] })
    .output();
  if (!success) throw new Error(`Cannot build the seccomp launcher: ${new TextDecoder().decode(stderr)}`);
  return output;
}
