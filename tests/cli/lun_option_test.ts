/** The disks of a SCSI adapter as the command line writes them: what is meant, and what is refused. */
import assert from "node:assert/strict";
import { CliError } from "../../cli/failure.ts";
import { parseLun, parseLunAddress, parseLuns, shownAddress } from "../../cli/serve/lun_option.ts";

const parse = (text: string) => parseLun(text, "--lun");

/** Every refusal is one line that says action, value and wanted state, and ends with exit code 2. */
function refuses(action: () => unknown, message: RegExp): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof CliError, String(error));
    assert.equal(error.exitCode, 2);
    assert.match(error.message, message);
    assert.match(error.message, /^Cannot (use|serve) .*: .*wanted /);
    assert.ok(!error.message.includes("\n"));
    return true;
  });
}

Deno.test("a disk is written as LUN, or target and LUN, then its TARGET and what it says of itself", () => {
  assert.deepEqual(parse("0=/disk"), { target: 0, lun: 0, path: "/disk", readOnly: false });
  assert.deepEqual(parse("3:7=disk,ro"), { target: 3, lun: 7, path: "disk", readOnly: true });
  assert.deepEqual(parse("255:255=memory:1MiB,serial=a b,wwn=0x5000C500155CA9D8,rotation=7200,ro"), {
    target: 255,
    lun: 255,
    path: "memory:1MiB",
    serial: "a b",
    wwn: "5000c500155ca9d8",
    rotation: 7200,
    readOnly: true,
  });
  assert.deepEqual(parse("007=x"), { target: 0, lun: 7, path: "x", readOnly: false });
  for (const rotation of ["0", "1", "1025", "65534"]) {
    assert.equal(parse(`0=x,rotation=${rotation}`).rotation, Number(rotation));
  }
  assert.equal(parse(`0=x,serial=${"s".repeat(36)}`).serial?.length, 36);
});

Deno.test("a TARGET may have colons, equals signs, blanks and, doubled, commas", () => {
  for (
    const [text, path] of [
      ["0=nbd://host:10809/a=b", "nbd://host:10809/a=b"],
      ["0=blkio:virtio-blk-vhost-user:/run/x.sock", "blkio:virtio-blk-vhost-user:/run/x.sock"],
      ["0==", "="],
      ["0= ", " "],
      ["0=a,,b", "a,b"],
      ["0=,,", ","],
      ["0=a,,,,b", "a,,b"],
      ["0=a,,,ro", "a,"],
      ["0=x=1,ro", "x=1"],
      ["0=a,,ro", "a,ro"],
    ] as const
  ) assert.equal(parse(text).path, path, text);
  assert.equal(parse("0=a,,,ro").readOnly, true);
  assert.equal(parse("0=a,,ro").readOnly, false);
  assert.equal(parse("0=a,serial=x,,y=z").serial, "x,y=z");
});

Deno.test("what is no disk is refused with the wanted form", () => {
  for (
    const [text, message] of [
      ["", /wanted \[T:\]L=TARGET/],
      ["0", /wanted \[T:\]L=TARGET/],
      ["/disk", /wanted \[T:\]L=TARGET/],
      ["0=", /TARGET is empty/],
      ["0=,ro", /TARGET is empty/],
      ["0=a\0b", /no NUL characters/],
      ["=/disk", /LUN "" is none, wanted a whole number from 0 to 255/],
      [":=x", /(LUN|target) "" is none/],
      [":0=x", /target "" is none/],
      ["0:=x", /LUN "" is none/],
      ["1:2:3=x", /wanted L or T:L/],
      ["256=x", /LUN "256" is none, wanted .* 255/],
      ["16384=x", /LUN "16384" is none/],
      ["256:0=x", /target "256" is none, wanted .* 255/],
      ["-1=x", /LUN "-1" is none/],
      ["1.0=x", /LUN "1.0" is none/],
      ["1e1=x", /LUN "1e1" is none/],
      ["0x1=x", /LUN "0x1" is none/],
      [" 1=x", /LUN " 1" is none/],
      ["١=x", /LUN "١" is none/],
      ["99999999999999999999=x", /LUN "99999999999999999999" is none/],
      ["/a,b=x", /LUN .* is none/],
    ] as const
  ) refuses(() => parse(text), message);
});

Deno.test("what a disk says of itself is checked word by word", () => {
  for (
    const [words, message] of [
      ["foo=1", /"foo" is no property, wanted serial, wwn, rotation or ro; a comma of TARGET is ,,/],
      ["Serial=1", /"Serial" is no property/],
      ["ro ", /"ro " is no property/],
      ["", /"" is no property/],
      ["ro,", /"" is no property/],
      ["=x", /"" is no property/],
      ["b/c", /"b\/c" is no property/],
      ["ro=1", /ro without a value/],
      ["ro=", /ro without a value/],
      ["ro,ro", /ro is given twice/],
      ["serial=a,serial=b", /serial is given twice/],
      ["serial", /wanted serial=VALUE/],
      ["serial=", /wanted serial=VALUE/],
      ["wwn=", /wanted wwn=VALUE/],
      ["rotation", /wanted rotation=VALUE/],
      [`serial=${"s".repeat(37)}`, /37 characters, wanted 1 to 36 of ASCII/],
      ["serial=ä", /of ASCII/],
      ["serial=a\tb", /of ASCII/],
      ["wwn=5000", /wwn 5000 is none, wanted 16 hexadecimal digits/],
      ["wwn=5000c500155ca9d80", /is none, wanted 16 hexadecimal/],
      ["wwn=5000c500155ca9dg", /is none, wanted 16 hexadecimal/],
      ["wwn=0000000000000000", /begin with 2, 3 or 5/],
      ["wwn=6000c500155ca9d8", /begin with 2, 3 or 5/],
      ["wwn=0x", /is none/],
      ["rotation=2", /rotation 2 is none, wanted 0, 1 .* or 1025 to 65534/],
      ["rotation=1024", /is none/],
      ["rotation=65535", /is none/],
      ["rotation=-1", /is none/],
      ["rotation=ssd", /is none/],
    ] as const
  ) refuses(() => parse(`0=x,${words}`), message);
});

Deno.test("an adapter has disks, each at its own place, with its own serial and WWN", () => {
  const luns = parseLuns(["0=a", "1=b", "2:0=a,serial=x", "2:1=c,serial=y,wwn=3000000000000001"]);
  assert.deepEqual(luns.map(shownAddress), ["0:0", "0:1", "2:0", "2:1"]);
  refuses(() => parseLuns([]), /an adapter without disks: wanted --lun/);
  refuses(() => parseLuns(["0=a", "0=b"]), /"0=b": 0:0 is there already/);
  refuses(() => parseLuns(["0=a", "0:0=b"]), /0:0 is there already/);
  refuses(() => parseLuns(["1:3=a", "0=b", "01:003=c"]), /1:3 is there already/);
  refuses(() => parseLuns(["0=a,serial=x", "1=b,serial=y", "5:1=c,serial=x"]), /0:0 has the same serial/);
  refuses(
    () => parseLuns(["0=a,wwn=5000C500155CA9D8", "1=b,wwn=0x5000c500155ca9d8"]),
    /0:0 has the same wwn/,
  );
  refuses(() => parseLuns(["0=a", "1=b,nonsense"]), /"nonsense" is no property/);
});

Deno.test("an address alone is a LUN, or target and LUN", () => {
  assert.deepEqual(parseLunAddress("5", "LUN"), { target: 0, lun: 5 });
  assert.deepEqual(parseLunAddress("2:0", "LUN"), { target: 2, lun: 0 });
  for (const text of ["", ":", "a", "0:", ":0", "1:2:3", "256", "0=x", "0,1"]) {
    refuses(() => parseLunAddress(text, "LUN"), /^Cannot use LUN /);
  }
});
