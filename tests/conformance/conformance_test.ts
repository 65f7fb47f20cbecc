/** One suite for all drivers: every check over every configuration. */
import "../support/libraries.ts";
import { ALL_CHECKS } from "./checks/all.ts";
import { allConfigurations } from "./configurations/all.ts";
import { registerChecks } from "./register.ts";

registerChecks(allConfigurations(), ALL_CHECKS);
