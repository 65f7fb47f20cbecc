/** Prints a megabyte of lines to a standard output that does not wait for its reader. */
import { writeOutput } from "../../../cli/terminal.ts";
import { libc, LIBC_CONSTANTS as C } from "../../../ffi/libc/mod.ts";

if (libc().fcntl(1, C.F_SETFL.value, BigInt(C.O_NONBLOCK.value)) < 0) throw new Error("F_SETFL failed");
writeOutput(Array.from({ length: 131_072 }, (_, at) => `${at}`.padStart(7, "0") + "\n").join(""));
