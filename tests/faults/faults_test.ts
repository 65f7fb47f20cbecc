/** Calls of libc, liburing, libaio and libblkio that fail once: a sample of `deno task test:faults`. */
import assert from "node:assert/strict";
import { Errno } from "../../core/base/errno.ts";
import { canForbidUring as hasCompiler } from "../support/forbid_uring.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { type Bad, faultsOf, faultText, runCampaign, sampleOf, type Selection } from "./campaign.ts";
import { type Cast, CASTS } from "./casts.ts";
import { buildForwarder, FORWARDED } from "./forwarder.ts";

const SEED = Math.floor(Math.random() * 2 ** 32);
/** Faults for each configuration, and the time in which no new one is begun any more: a loaded machine tries fewer. */
const FAULTS = 24;
const BUDGET_MS = 2_500;

/** One configuration of each driver, another one on another day. */
const chosen = ["io_uring", "linux_aio", "blkio", "server"].map((driver) => {
  const own = CASTS.filter((cast) => cast.driver === driver);
  return own[SEED % own.length]!;
});
const compiler = await hasCompiler();

testWhen(compiler, "the call that is to fail fails, once, and no other", async () => {
  using dir = new TempDir();
  const cast = CASTS.find(({ name }) => name === "linux_aio event")!;
  await using stage = await cast.start(await buildForwarder(dir.path));
  const clean = await stage.play(null);
  assert.ok("verdict" in clean);
  assert.deepEqual({ ...clean.verdict, calls: {} }, { hits: 0, calls: {}, errors: [], wrong: [], leaks: [], said: [] });
  const { open = 0, io_setup: setups = 0 } = clean.verdict.calls!;
  assert.deepEqual([open, setups], [2, 1]);
  for (
    const [from, message] of [[1, /^open of the first: .*a\.bin: EPERM/], [2, /^open of the second: .*b\.bin/]] as const
  ) {
    const answer = await stage.play({ symbol: "open", from, to: from, errno: Errno.EPERM });
    assert.ok("verdict" in answer);
    assert.equal(answer.verdict.hits, 1);
    assert.equal(answer.verdict.errors.length, 1);
    assert.match(answer.verdict.errors[0]!, message);
  }
  const never = await stage.play({ symbol: "open", from: open + 1, to: open + 1, errno: Errno.EPERM });
  assert.ok("verdict" in never);
  assert.deepEqual({ hits: never.verdict.hits, errors: never.verdict.errors }, { hits: 0, errors: [] });
});

/** Runs faults of a configuration; every finding is a failure. */
async function assertHeld({ start, keepsPage }: Cast, selection: Selection): Promise<void> {
  using dir = new TempDir();
  await using stage = await start(await buildForwarder(dir.path));
  const lines: string[] = [];
  const onBad = ({ fault, what, text }: Bad) => void lines.push(`${what} after ${faultText(fault)}: ${text}`);
  const tally = await runCampaign(stage.play, { ...selection, keepsPage }, onBad);
  assert.deepEqual(lines, []);
  assert.ok(tally.absorbed + tally.errors > 0, "no call has failed");
}

const castOf = (name: string) => CASTS.find((cast) => cast.name === name)!;
const readyOf = (cast: Cast) => compiler === true ? cast.ready() : compiler;

/** Ends the wait of another thread, which otherwise lasts for five seconds: a test of its own. */
const WAITED_FOR = "shutdown";

for (const cast of chosen) {
  const selection = {
    symbols: FORWARDED.map(({ name }) => name).filter((name) => name !== WAITED_FOR),

    sample: { count: FAULTS, seed: SEED },
    budgetMs: BUDGET_MS,
  };
  const name = `a call that fails is made good or reported, and leaves nothing (${cast.name}, seed ${SEED})`;
  testWhen(readyOf(cast), name, () => assertHeld(cast, selection));
}

testWhen(readyOf(castOf("server over io_uring")), "a server that cannot start leaves no socket and no server", () => {
  return assertHeld(castOf("server over io_uring"), {
    symbols: ["statx", "listen", "bind", "unlink"],
    errnos: [Errno.EIO],
  });
});

testWhen(
  readyOf(castOf("server over io_uring")),
  "a server whose timer does not start sleeps no longer than a turn",
  () => {
    return assertHeld(castOf("server over io_uring"), {
      symbols: ["timerfd_settime"],
      errnos: [Errno.EIO],
      sample: { count: FAULTS, seed: SEED },
    });
  },
);

testWhen(
  readyOf(castOf("server over io_uring")),
  "a clock that does not answer once is read again, and keeps no sleep of the server waiting",
  () => {
    return assertHeld(castOf("server over io_uring"), {
      symbols: ["clock_gettime"],
      errnos: [Errno.EIO],
      sample: { count: FAULTS, seed: SEED },
      budgetMs: BUDGET_MS,
    });
  },
);

for (const name of ["server over io_uring", "server over linux_aio"]) {
  testWhen(readyOf(castOf(name)), `a shutdown(2) that fails is made good by a look at the end (${name})`, () => {
    const sample = { count: 4, seed: SEED };
    return assertHeld(castOf(name), { symbols: [WAITED_FOR], errnos: [Errno.EIO], sample });
  });
}

/** What ends things. */
const ENDINGS = [
  "close",
  "munmap",
  "io_destroy",
  "io_uring_register_files_update",
  "io_uring_register_buffers_update_tag",
];

for (const name of ["io_uring event", "linux_aio event", "blkio event", "server over linux_aio"]) {
  const cast = castOf(name);
  testWhen(readyOf(cast), `what cannot be given back at the end keeps nothing else (${name})`, () => {
    // The server has dozens of them.
    const sample = { count: FAULTS, seed: SEED };
    return assertHeld(cast, { symbols: ENDINGS, errnos: [Errno.EIO], sample, budgetMs: BUDGET_MS });
  });
}

testWhen(
  readyOf(castOf("blkio event")),
  "libblkio and the end of a file that are not to be asked are one error",
  () => {
    return assertHeld(castOf("blkio event"), {
      symbols: ["blkio_get_str", "blkio_get_queue", "lseek"],
      errnos: [Errno.ENOMEM],
      sample: { count: 12, seed: SEED },
    });
  },
);

Deno.test("every function of the symbol tables that can fail is in the campaign", () => {
  const calls = Object.fromEntries(FORWARDED.map(({ name }) => [name, 2]));
  const faults = faultsOf(calls, { errnos: [Errno.EIO] });
  const failing = FORWARDED.filter(({ failing }) => failing !== "never");
  assert.equal(faults.length, 2 * failing.length);
  assert.deepEqual(
    FORWARDED.filter(({ failing, name }) => failing === "never" && !/^blkioq?_/.test(name)).map(({ name }) => name),
    ["__errno_location", "free", "freeaddrinfo", "getpid", "gettid", "io_uring_queue_exit", "io_uring_free_probe"],
  );
});

Deno.test("a sample has no fault twice, and the same ones for the same seed", () => {
  const faults = faultsOf({ mmap: 3, open: 40, close: 1 }, {});
  const sample = sampleOf(faults, { count: 50, seed: 7 });
  assert.equal(new Set(sample.map(faultText)).size, 50);
  assert.deepEqual(sample, sampleOf(faults, { count: 50, seed: 7 }));
  assert.notDeepEqual(sample, sampleOf(faults, { count: 50, seed: 8 }));
  assert.equal(sampleOf(faults, { count: 1_000, seed: 7 }).length, faults.length);
});
