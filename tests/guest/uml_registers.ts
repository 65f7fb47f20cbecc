/**
 * User Mode Linux on processors with wide registers (AMX). Its buffer for extended registers is 2,696 bytes long
 * (HOST_FP_SIZE, until Linux 6.11). The host hands out as much of them as fits, and takes them back only whole, with
 * EFAULT otherwise: the guest panics at its first process ("set fp regs failed, errno = 14"). A small library before
 * ptrace(2) reads them whole, and puts what the guest changed into the whole.
 *
 * @module
 */

import { join } from "node:path";
import { commandWorks } from "../support/forbid_uring.ts";

/** Whether the processor has such registers. */
export async function hasWideRegisters(): Promise<boolean> {
  return await commandWorks("grep", ["-qw", "amx_tile", "/proc/cpuinfo"]);
}

const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

typedef long (*ptrace_call)(int, int, void *, void *);

static char whole[65536] __attribute__((aligned(64)));

long ptrace(enum __ptrace_request request, ...) {
  static ptrace_call next;
  if (!next) next = (ptrace_call) dlsym(RTLD_NEXT, "ptrace");
  va_list list;
  va_start(list, request);
  int pid = va_arg(list, int);
  void *address = va_arg(list, void *);
  void *data = va_arg(list, void *);
  va_end(list);
  int gets = request == PTRACE_GETREGSET, sets = request == PTRACE_SETREGSET;
  if ((!gets && !sets) || address != (void *) NT_X86_XSTATE) return next(request, pid, address, data);
  struct iovec *part = data, all = { whole, sizeof whole };
  long result = next(PTRACE_GETREGSET, pid, address, &all);
  if (result < 0) return result;
  if (part->iov_len > all.iov_len) part->iov_len = all.iov_len;
  memcpy(gets ? part->iov_base : whole, gets ? whole : part->iov_base, part->iov_len);
  return gets ? 0 : next(PTRACE_SETREGSET, pid, address, &all);
}
`;

/** Builds the library in `folder`; to be loaded before the guest's kernel. Returns its path. */
export async function buildRegisterLibrary(folder: string): Promise<string> {
  const [input, output] = [join(folder, "registers.c"), join(folder, "registers.so")];
  Deno.writeTextFileSync(input, SOURCE);
  const args = ["-Wall", "-Werror", "-shared", "-fPIC", "-O2", "-o", output, input];
  const { success, stderr } = await new Deno.Command("cc", { args }).output();
  if (!success) throw new Error(`Cannot build the register library: ${new TextDecoder().decode(stderr)}`);
  return output;
}
