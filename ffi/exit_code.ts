/**
 * The one piece of native code that is not a library's: it makes the calls of a table, for when a thread ends and no
 * JavaScript is left that could. See thread_exit.ts for the table.
 *
 * @module
 */

/** Words of 64 bits in one entry of a table: function, five arguments, two that are free. */
export const ENTRY_WORDS = 8;

/** In place of a function: the table ends here. First and second argument go to the function in the third, at last. */
export const END = 0xffff_ffff_ffff_ffffn;

/** `endbr64; push rbx; mov rbx, rdi`, then for each entry (`rbx += 64`) arguments to registers and `call [rbx]`. */
const X86_64 = "f30f1efa 53 4889fb " + // entry: rbx = table
  "488b03 4885c0 741c 4883f8ff 741c " + // rax = function; 0: next; −1: end
  "488b7b08 488b7310 488b5318 488b4b20 4c8b4328 ffd0 " + // rdi, rsi, rdx, rcx, r8; call rax
  "4883c340 ebd6 " + // next: rbx += 64
  "488b7b08 488b7310 488b4318 5b ffe0"; // end: rdi, rsi, rax; pop rbx; jmp rax

/** The same: `x19` walks the table, `x8` is the function. */
const AARCH64 = "5f2403d5 fd7bbea9 fd030091 f30b00f9 f30300aa " + // bti c; save x29, x30, x19; x19 = table
  "680240a9 c80000b4 1f0500b1 c0000054 " + // x8, x0 = function, first; 0: next; −1: end
  "610a41a9 631242a9 00013fd6 " + // x1, x2; x3, x4; blr x8
  "73020191 f8ffff17 " + // next: x19 += 64
  "612241a9 f30b40f9 fd7bc2a8 00011fd6"; // end: x1, x8; restore; br x8

/** The code for this processor: `void run(void *table)`. Null where there is none. */
export function exitCode(): Uint8Array<ArrayBuffer> | null {
  const text = { x86_64: X86_64, aarch64: AARCH64 }[Deno.build.arch as string];
  return text === undefined
    ? null
    : Uint8Array.from(text.replaceAll(" ", "").match(/../g)!, (byte) => parseInt(byte, 16));
}
