/** Prints a megabyte of lines to a standard output that does not wait for its reader. */
import { writeOutput } from "../../../cli/terminal.ts";
import { setNonblocking } from "../../../ffi/libc/mod.ts";

setNonblocking(1, "standard output");
writeOutput(Array.from({ length: 131_072 }, (_, at) => `${at}`.padStart(7, "0") + "\n").join(""));
