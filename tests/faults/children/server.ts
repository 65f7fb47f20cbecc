/**
 * Serves a disk again and again, each time with another call failing: `server.ts LIBRARY DRIVER FOLDER`; see driver.ts.
 *
 * @module
 */
import { FaultControls } from "../controls.ts";
import { holdings } from "../holdings.ts";
import { Findings } from "../scenario.ts";
import { serveScene } from "../server_scene.ts";
import { serveFaults } from "../verdict.ts";

const [library, driver, folder] = Deno.args as [string, string, string];
const controls = new FaultControls(library);

await serveFaults(controls, {
  held: () => holdings(controls.held()),
  async play(fault) {
    const findings = new Findings(fault);
    const said: string[] = [];
    await serveScene(folder, { driver, direct: true }, findings, said);
    findings.said.push(...said);
    return findings;
  },
});
