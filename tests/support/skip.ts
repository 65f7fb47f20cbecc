/**
 * Tests that need something of the machine: run, or skipped with a reason that is printed and counted.
 *
 * In CI (`CI=true`) a test that should run there but cannot is a failure, not a skip.
 *
 * @module
 */

/** How a test that cannot run is treated. */
export interface TestWhenOptions {
  /** The machines of CI cannot run this test at all; the reason stays printed and the skip counted. */
  readonly optionalInCi?: boolean;
  /** For the helper's own tests: where to register, where to print, and whether this is CI. */
  readonly host?: TestHost;
}

/** What the helper touches, so that its own tests can watch. */
export interface TestHost {
  register(definition: Deno.TestDefinition): void;
  say(line: string): void;
  readonly isCi: boolean;
}

/** A test's body, as `Deno.test` takes it. */
export type TestBody = (context: Deno.TestContext) => void | Promise<void>;

const encoder = new TextEncoder();

function denoHost(): TestHost {
  return {
    register: (definition) => Deno.test(definition),
    say: (line) => void Deno.stderr.writeSync(encoder.encode(line + "\n")),
    isCi: Deno.env.get("CI") === "true",
  };
}

/**
 * Registers a test that runs if `condition` is true; a string is the reason why it cannot.
 *
 * @example
 * ```ts ignore
 * const hasFio = await commandExists("fio") || "fio is not installed";
 * testWhen(hasFio, "fio reads what plugio wrote", async () => { await verify(); });
 * ```
 */
export function testWhen(
  condition: true | string,
  name: string,
  body: TestBody,
  options: TestWhenOptions = {},
): void {
  const { register, say, isCi } = options.host ?? denoHost();
  if (condition === true) return register({ name, fn: body });
  if (condition.trim() === "") throw new TypeError(`Cannot skip ${JSON.stringify(name)}: expected a reason`);
  if (isCi && options.optionalInCi !== true) {
    const fn = () => {
      throw new Error(`Cannot skip ${JSON.stringify(name)} in CI: ${condition}`);
    };
    return register({ name: `${name} (should run here: ${condition})`, fn });
  }
  say(`SKIP ${name}: ${condition}`);
  register({ name: `${name} (skipped: ${condition})`, ignore: true, fn: body });
}
