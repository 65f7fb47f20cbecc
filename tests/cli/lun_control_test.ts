/** The disks of an adapter by its control socket: what clients ask, and what is refused. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readLunOrder } from "../../cli/serve/lun_orders.ts";
import { lunText, parseLun } from "../../cli/serve/lun_option.ts";
import { parseServeScsiOptions } from "../../cli/serve/scsi_options.ts";
import { askControl, ControlRefusal, serveControl } from "../../devices/serve/mod.ts";
import { closeFile } from "../../ffi/libc/mod.ts";
import { connectTo, receive, send } from "../../ffi/unix_socket.ts";
import { listens } from "../support/listens.ts";
import { until } from "../devices/vhost_user/rig.ts";
import { finished, runCli, spawnCli, TempFolder } from "./support.ts";

Deno.test("a control socket answers each line, of several clients, and is for its user alone", async () => {
  using folder = new TempFolder();
  const path = join(folder.path, "control");
  const server = serveControl(path, (request) => {
    if (request === "refuse") return Promise.reject(new Error("Cannot do that: wanted another thing"));
    return Promise.resolve({ asked: request });
  });
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  assert.deepEqual(await Promise.all([1, "ü", null].map((request) => askControl(path, request))), [
    { asked: 1 },
    { asked: "ü" },
    { asked: null },
  ]);
  await assert.rejects(askControl(path, "refuse"), (error) => {
    return error instanceof ControlRefusal && error.message === "Cannot do that: wanted another thing";
  });
  await server.close();
  await server.close();
  assert.deepEqual(folder.names(), []);
  await assert.rejects(askControl(path, 1), /Cannot connect to .*ENOENT/);
});

/** Sends bytes as they are; resolves to what comes back before the end. */
async function sendRaw(path: string, text: string): Promise<string> {
  const fd = connectTo(path);
  try {
    const bytes = new TextEncoder().encode(text);
    for (let sent = 0; sent < bytes.length;) {
      try {
        sent += send(fd, bytes.slice(sent), [], path);
      } catch {
        // The server has answered and hung up.
        break;
      }
      await new Promise((resolve) => setTimeout(resolve));
    }
    const into = new Uint8Array(65_536);
    for (;;) {
      const got = receive(fd, into, path);
      if (got !== null) return new TextDecoder().decode(into.subarray(0, got.byteLength));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  } finally {
    closeFile(fd, path);
  }
}

Deno.test("what is no request is one line that says so, and the next client is served", async () => {
  using folder = new TempFolder();
  const path = join(folder.path, "control");
  const server = serveControl(path, (request) => Promise.resolve(readLunOrder(request)));
  for (
    const [line, error] of [
      ["nonsense", /^Cannot read the request: wanted one value in JSON on one line$/],
      ["", /one value in JSON/],
      ["{", /one value in JSON/],
      ["null", /^Cannot do undefined: wanted add, remove or list$/],
      ["[]", /^Cannot do undefined/],
      ['{"do":"format"}', /^Cannot do "format": wanted add, remove or list$/],
      ['{"do":"add"}', /^Cannot add undefined: wanted a LUN as text$/],
      ['{"do":"remove","lun":7}', /^Cannot remove 7: wanted a LUN as text$/],
      ['{"do":"add","lun":"300=x"}', /^Cannot use LUN "300=x": LUN "300" is none/],
      ['{"do":"remove","lun":"x"}', /^Cannot use LUN "x": LUN "x" is none/],
    ] as const
  ) assert.match(JSON.parse(await sendRaw(path, `${line}\n`)).error, error, line);
  assert.match(JSON.parse(await sendRaw(path, "x".repeat(1_200_000))).error, /more than 1048576 bytes/);
  // One that leaves in the middle of a line disturbs no other.
  closeFile(connectTo(path), "client");
  assert.deepEqual(await askControl(path, { do: "list" }), { do: "list" });
  await server.close();
});

Deno.test("a disk is written as it is read, whatever its name", () => {
  for (
    const text of [
      "0:0=disk",
      "3:255=/a,,b=c,serial=x,,y,wwn=5000c500155ca9d8,rotation=1,ro",
      "1:2=nbd://host/x,rotation=7200",
    ]
  ) assert.equal(lunText(parseLun(text, "LUN")), text);
});

Deno.test("an adapter's options are checked as a disk's are, and its control socket is another one", () => {
  const parse = (raw: Record<string, string | readonly string[]>) =>
    parseServeScsiOptions({ socket: "s", lun: ["0=disk"], ...raw });
  assert.deepEqual([parse({}).queueCount, parse({}).control, parse({}).writeBack], [64, null, true]);
  assert.equal(parse({ control: "c" }).control, "c");
  assert.throws(() => parse({ control: "s" }), /Cannot use --control s: --socket has the same path, wanted another/);
  assert.throws(() => parse({ control: "@c" }), /abstract sockets are not served/);
  assert.throws(() => parse({ control: "" }), /Cannot use --control/);
  assert.throws(() => parse({ numQueues: "255" }), /--num-queues 255: wanted a whole number from 1 to 254/);
  assert.throws(() => parse({ numQueues: "0" }), /--num-queues 0/);
  assert.throws(() => parse({ numQueues: "2", workers: "3" }), /--num-queues 2 with --workers 3/);
  assert.throws(() => parse({ lun: [] }), /Cannot serve an adapter without disks: wanted --lun/);
  assert.throws(() => parse({ lun: ["0=memory:1MiB"], driver: "linux_aio" }), /prefix names driver memory/);
  assert.throws(() => parseServeScsiOptions({ lun: ["0=disk"] }), /Cannot serve without a socket/);
});

Deno.test("what cannot be served as an adapter is one line and a status, and leaves no socket", async () => {
  using folder = new TempFolder();
  const socket = join(folder.path, "s");
  const disk = folder.file("disk", 65_536);
  const qcow2 = folder.file("qcow2", 65_536);
  Deno.writeFileSync(qcow2, Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3, ...new Uint8Array(1016)));
  for (
    const [args, status, message] of [
      [[], 2, /^Cannot serve an adapter without disks: wanted --lun/],
      [["--lun", `0=${disk}`, "--lun", `0=${qcow2}`], 2, /0:0 is there already/],
      [["--lun", `256=${disk}`], 2, /LUN "256" is none/],
      [["--lun", `0=${disk}x`], 1, /^Cannot open .*ENOENT/],
      [["--lun", `0=${folder.path}`], 1, /directory/],
      [["--lun", `0=${qcow2}`], 1, /it is a qcow2 image/],
      [["--lun", `0=${folder.file("empty", 0)}`], 1, /^Cannot serve .*: it has 0 bytes, wanted at least one sector/],
      [["--lun", `0=${disk}`, "--lun", `1=${disk}`], 2, /LUN 0:0 has the same serial/],
      [
        ["--workers=2", "--lun", "0=memory:1MiB"],
        1,
        /memory:1MiB with --workers 2: it belongs to one Worker, wanted 1/,
      ],
      [["--lun", `0=${disk}`, "--control", disk], 1, /no socket stands there/],
      [["--lun", `0=${disk}`, "--control", socket], 2, /--socket has the same path/],
      [["--lun", `0=${disk}`, "--workers=0"], 2, /--workers 0/],
      [["--lun", `0=${disk}`, "--queue-size=3"], 2, /--queue-size 3: wanted a power of two/],
    ] as const
  ) {
    const { code, stderr } = await runCli(["serve", "vhost-user-scsi", "--socket", socket, ...args]);
    assert.match(stderr, message);
    assert.equal(code, status, stderr);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  assert.deepEqual(folder.names(), ["disk", "empty", "qcow2"]);
});

for (const workers of [1, 2]) {
  Deno.test(`disks of an adapter on ${workers} Workers are added, listed, taken away, and refused in one line`, async () => {
    using folder = new TempFolder();
    const socket = join(folder.path, "s");
    const control = join(folder.path, "c");
    const [a, b] = ["a", "b,c"].map((name) => folder.file(name, 1 << 20)) as [string, string];
    const child = spawnCli([
      "serve",
      "vhost-user-scsi",
      `--workers=${workers}`,
      "--socket",
      socket,
      "--control",
      control,
      "--lun",
      `0=${a},serial=x`,
    ]);
    await until(() => listens(socket) && listens(control), "it listens");
    const lun = (...args: string[]) => runCli(["lun", ...args]);
    const withB = b.replaceAll(",", ",,");
    assert.equal((await lun("add", "--control", control, `1:3=${withB},ro,wwn=5000c500155ca9d8`)).stderr, "");
    for (
      const [args, status, message] of [
        [["add", "--control", control, `0=${withB}`], 1, /^Cannot add LUN 0:0: it is there already/],
        [["add", "--control", control, `1=${a}`], 1, /^Cannot serve .*: another server .* writes to it/],
        [["add", "--control", control, `1=${a}x`], 1, /^Cannot open .*ENOENT/],
        [["add", "--control", control, `1=${withB},serial=x`], 1, /LUN 0:0 has the same serial/],
        [["add", "--control", control, "256=x"], 2, /^Cannot use LUN "256=x"/],
        [["add", "1=x"], 2, /^Cannot reach an adapter: wanted --control/],
        [["remove", "--control", control, "9"], 1, /^Cannot remove LUN 0:9: wanted one that is served/],
        [["list", "--control", a], 1, /^Cannot connect to .*wanted the control socket/],
      ] as const
    ) {
      const { code, stderr } = await lun(...args);
      assert.match(stderr, message);
      assert.equal(code, status, stderr);
      assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
    }
    const { stdout } = await lun("list", "--control", control);
    assert.match(
      stdout,
      /^0:0 .*a \(1MiB\), serial x, wwn 3[0-9a-f]{15}\n1:3 .*b,c \(1MiB, read-only\), .*5000c500155ca9d8\n$/,
    );
    assert.equal((await lun("remove", "--control", control, "1:3")).code, 0);
    const json = JSON.parse((await lun("list", "--json", "--control", control)).stdout);
    assert.deepEqual(json.map(({ target, lun, path }: Record<string, unknown>) => [target, lun, path]), [[0, 0, a]]);
    child.kill("SIGTERM");
    const { code, stderr } = await finished(child);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /LUN 1:3 is .*b,c now\n.*LUN 1:3 is gone\n/);
    assert.deepEqual(folder.names(), ["a", "b,c"]);
  });
}
