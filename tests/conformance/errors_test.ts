/** The part of the suite that takes a disk with faults. */
import "../support/libraries.ts";
import { ERRORS } from "./checks/errors.ts";
import { FAULTY_CONFIGURATIONS } from "./configurations/faulty.ts";
import { registerChecks } from "./register.ts";

registerChecks(FAULTY_CONFIGURATIONS, ERRORS);
