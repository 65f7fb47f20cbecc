/**
 * All that the campaign runs: a player for each configuration of a driver, and for the server.
 *
 * @module
 */
import { hasLibblkio } from "../support/libraries.ts";
import { TempDir } from "../support/temp_file.ts";
import type { Play } from "./campaign.ts";
import { DRIVER_CONFIGURATIONS, type DriverConfiguration } from "./configurations.ts";
import { Player } from "./player.ts";
import { prepare, SceneGuest } from "./server_scene.ts";

/** A thing that can be played, with what it takes. */
export interface Cast {
  readonly name: string;
  readonly driver: string;
  /** As in the selection of faults. */
  readonly keepsPage: boolean;
  /** True, or why it cannot run here. */
  ready(): true | string;
  /** Starts it with the forwarding library at a path. */
  start(library: string): Promise<AsyncDisposable & { readonly play: Play }>;
}

const DRIVER_CHILD = new URL("./children/driver.ts", import.meta.url);

function driverCast({ name, driver }: DriverConfiguration): Cast {
  return {
    name,
    driver,
    keepsPage: name.includes("socketpair"),
    ready: () => driver === "blkio" ? hasLibblkio() : true,
    start(library) {
      const dir = new TempDir();
      const player = new Player(DRIVER_CHILD, library, [name, dir.path]);
      return Promise.resolve({
        play: (fault) => player.play(fault),
        async [Symbol.asyncDispose]() {
          await player[Symbol.asyncDispose]();
          dir[Symbol.dispose]();
        },
      });
    },
  };
}

const SERVER_CHILD = new URL("./children/server.ts", import.meta.url);

/** The served disk over a driver, with a guest in this process. */
function serverCast(driver: string): Cast {
  return {
    name: `server over ${driver}`,
    driver: "server",
    keepsPage: false,
    ready: () => true,
    start(library) {
      const dir = new TempDir();
      const player = new Player(SERVER_CHILD, library, [driver, dir.path]);
      const play: Play = async (fault) => {
        let guest = new SceneGuest(dir.path);
        const answer = await player.play(fault, () => {
          prepare(dir.path);
          guest = new SceneGuest(dir.path);
          return (isOver) => guest.play(isOver);
        });
        return "verdict" in answer ? { verdict: guest.judge(answer.verdict, fault?.errno ?? 0) } : answer;
      };
      return Promise.resolve({
        play,
        async [Symbol.asyncDispose]() {
          await player[Symbol.asyncDispose]();
          dir[Symbol.dispose]();
        },
      });
    },
  };
}

/** All of them. */
export const CASTS: readonly Cast[] = [
  ...DRIVER_CONFIGURATIONS.map(driverCast),
  ...["io_uring", "linux_aio"].map(serverCast),
];
