import { dirname, join } from "node:path";
import { CliError, failed, misuse } from "../failure.ts";
import { ExitCode } from "../exit_codes.ts";
import { AtomicFile } from "../output_file.ts";
import { ProtectedFiles } from "../protected_files.ts";
import {
  type Manifest,
  MANIFEST_NAME,
  PACKED_NAME,
  type Plan,
  type PlannedPoint,
  RAW_FOLDER,
  rawName,
  readManifest,
} from "../report/manifest.ts";
import { readRun } from "../report/run_figures.ts";
import { counted } from "../words.ts";

/** Keeps a second sweep out of the folder; the kernel gives the lock back however the first one ends. */
const LOCK_NAME = ".lock";

/** Facts of the context that must not change within one sweep: figures of two machines are no rounds of one point. */
const FIXED_CONTEXT: readonly string[] = ["target", "machine", "kernel", "runtime"];

/**
 * The folder that a sweep writes to. Each file appears whole or not at all, so a sweep that was ended, killed or
 * switched off goes on where it was.
 */
export class ResultsFolder implements Disposable {
  /** Where it is. */
  readonly path: string;
  /** Runs whose results were there but cannot be read: they are measured again. */
  readonly broken: readonly string[];
  readonly #lock: Deno.FsFile;
  readonly #done: Set<string>;

  private constructor(path: string, lock: Deno.FsFile, done: Set<string>, broken: readonly string[]) {
    this.path = path;
    this.#lock = lock;
    this.#done = done;
    this.broken = broken;
  }

  /**
   * Opens a folder for `manifest`, new or with a sweep of the same plan. Throws CliError for any other, and where one of
   * its files is protected by `guard`.
   */
  static open(path: string, manifest: Manifest, guard = new ProtectedFiles()): ResultsFolder {
    using stack = new DisposableStack();
    for (const name of [MANIFEST_NAME, ...rawNames(manifest.plan)]) guard.check(join(path, name));
    const old = readManifest(path);
    if (old === null) refuseForeign(path);
    else refuseOtherPlan(path, old, manifest);
    makeFolder(path);
    makeFolder(join(path, RAW_FOLDER));
    const lock = stack.use(lockFolder(path));
    if (old === null || old.plan.rounds < manifest.plan.rounds) {
      using file = new AtomicFile(join(path, MANIFEST_NAME));
      const kept = old === null ? manifest : { ...old, plan: manifest.plan };
      file.commit(JSON.stringify(kept, null, 2) + "\n");
    }
    const { done, broken } = findDone(path, manifest.plan);
    stack.move();
    return new ResultsFolder(path, lock, done, broken);
  }

  /** Whether a run has its result. */
  has(id: string, round: number): boolean {
    return this.#done.has(rawName(id, round));
  }

  /** Stores the result of a run. */
  store(id: string, round: number, result: unknown): void {
    const name = rawName(id, round);
    using file = new AtomicFile(join(this.path, RAW_FOLDER, name));
    file.commit(JSON.stringify(result) + "\n");
    this.#done.add(name);
  }

  /** Lets others use the folder. */
  [Symbol.dispose](): void {
    this.#lock.close();
  }
}

function makeFolder(path: string): void {
  try {
    Deno.mkdirSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists && isFolder(path)) return;
    if (error instanceof Deno.errors.NotCapable) throw error;
    if (error instanceof Deno.errors.NotFound) {
      throw failed(
        `Cannot make folder ${path}: ${dirname(path)} does not exist, wanted a folder in one that does`,
        error,
      );
    }
    throw failed(`Cannot make folder ${path}: ${(error as Error).message}, wanted a place for results`, error);
  }
}

function isFolder(path: string): boolean {
  return Deno.statSync(path).isDirectory;
}

function lockFolder(path: string): Deno.FsFile {
  const file = openLock(path);
  if (tryLock(file)) return file;
  file.close();
  throw failed(`Cannot sweep into ${path}: another sweep is writing there, wanted its end or another --output`);
}

function openLock(path: string): Deno.FsFile {
  try {
    return Deno.openSync(join(path, LOCK_NAME), { write: true, create: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw failed(`Cannot sweep into ${path}: ${(error as Error).message}, wanted a folder to write to`, error);
  }
}

function tryLock(file: Deno.FsFile): boolean {
  try {
    return file.tryLockSync(true);
  } catch (error) {
    throw failed(`Cannot lock the results folder: ${(error as Error).message}`, error);
  }
}

/** A folder with something else in it is not filled up with results. */
function refuseForeign(path: string): void {
  const found = [...listFolder(path), ...listFolder(join(path, RAW_FOLDER)).map((name) => `${RAW_FOLDER}/${name}`)]
    .find((name) => name !== LOCK_NAME && name !== RAW_FOLDER && !name.endsWith(".part"));
  if (found === undefined) return;
  throw new CliError(
    ExitCode.failed,
    `Cannot sweep into ${path}: it holds ${found} and no ${MANIFEST_NAME}, wanted an empty folder or a sweep to go on with`,
  );
}

function listFolder(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw failed(`Cannot sweep into ${path}: ${(error as Error).message}, wanted a folder`, error);
  }
}

function refuseOtherPlan(path: string, old: Manifest, manifest: Manifest): void {
  const refuse = (what: string, was: unknown, is: unknown) =>
    misuse(
      `Cannot go on with the sweep in ${path}: its ${what} is ${JSON.stringify(was)} and not ${JSON.stringify(is)}, ` +
        "wanted the same command line or another --output",
    );
  for (const key of Object.keys(manifest.plan) as (keyof Plan)[]) {
    if (key === "rounds" || key === "points") continue;
    const [was, is] = [old.plan[key], manifest.plan[key]];
    if (JSON.stringify(was) !== JSON.stringify(is)) throw refuse(key, was, is);
  }
  refuseOtherPoints(path, old.plan.points, manifest.plan.points);
  for (const key of FIXED_CONTEXT) {
    if (old.context[key] !== manifest.context[key]) throw refuse(key, old.context[key], manifest.context[key]);
  }
  if (readable(join(path, PACKED_NAME))) {
    throw failed(`Cannot go on with the sweep in ${path}: it is finished and packed, wanted another --output`);
  }
}

/** The first point that only one of the two has, in words. */
function refuseOtherPoints(path: string, was: readonly PlannedPoint[], is: readonly PlannedPoint[]): void {
  const only = (these: readonly PlannedPoint[], those: readonly PlannedPoint[]) =>
    these.filter(({ id }) => those.every((other) => other.id !== id));
  const [gone, added] = [only(was, is), only(is, was)];
  if (gone.length + added.length === 0) return;
  const say = (points: readonly PlannedPoint[]) =>
    `${points[0]!.id}${points.length === 1 ? "" : ` and ${counted(points.length - 1, "other point")}`}`;
  const parts = [
    ...added.length > 0 ? [`it lacks ${say(added)}`] : [],
    ...gone.length > 0 ? [`it has ${say(gone)}, which this command line lacks`] : [],
  ];
  throw misuse(
    `Cannot go on with the sweep in ${path}: ${parts.join(", and ")}, wanted the same command line or another --output`,
  );
}

function readable(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Where each result of a plan goes, relative to the folder. */
function rawNames({ rounds, points }: Plan): string[] {
  return Array.from({ length: rounds }, (_, at) => points.map(({ id }) => join(RAW_FOLDER, rawName(id, at + 1))))
    .flat();
}

/** Looks at every result that the plan names; what cannot be read is put aside, not lost. */
function findDone(path: string, plan: Plan): { done: Set<string>; broken: string[] } {
  const done = new Set<string>();
  const broken: string[] = [];
  for (let round = 1; round <= plan.rounds; round++) {
    for (const { id } of plan.points) {
      const name = rawName(id, round);
      const file = join(path, RAW_FOLDER, name);
      if (!readable(file)) continue;
      try {
        readRun(JSON.parse(Deno.readTextFileSync(file)), file);
        done.add(name);
      } catch {
        Deno.renameSync(file, `${file}.broken`);
        broken.push(name);
      }
    }
  }
  return { done, broken };
}
