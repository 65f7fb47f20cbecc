/**
 * Runs the scene of a driver again and again, each time with another call failing: `driver.ts LIBRARY CONFIGURATION
 * FOLDER`. Takes a fault a line from standard input and answers each with a verdict; see verdict.ts.
 *
 * @module
 */
import { driverConfiguration } from "../configurations.ts";
import { FaultControls } from "../controls.ts";
import { holdings } from "../holdings.ts";
import { Findings, playScene } from "../scenario.ts";
import { serveFaults } from "../verdict.ts";

const [library, name, folder] = Deno.args as [string, string, string];
const controls = new FaultControls(library);
const stage = driverConfiguration(name).stage(folder);

await serveFaults(controls, {
  held: () => holdings(controls.held()),
  async play(fault) {
    const findings = new Findings(fault);
    await playScene(stage, findings);
    return findings;
  },
});
