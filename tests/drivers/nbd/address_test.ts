/** NBD URIs: what the specification has, and each part wrong. */
import assert from "node:assert/strict";
import { parseNbdAddress } from "../../../drivers/nbd/address.ts";

Deno.test("the examples of the specification are read as it says", () => {
  const tcp = { kind: "tcp", host: "example.com", port: 10_809 };
  const cases: readonly (readonly [string, object, string])[] = [
    ["nbd://example.com/disk", tcp, "disk"],
    ["nbd+unix:///disk?socket=sock", { kind: "unix", path: "sock" }, "disk"],
    ["nbd://example.com/", tcp, ""],
    ["nbd://example.com", tcp, ""],
    ["nbd://example.com//disk", tcp, "/disk"],
    ["nbd://example.com/hello%20world", tcp, "hello world"],
    ["nbd://user@example.com:1234/a%2Fb/c%25", { ...tcp, port: 1234 }, "a/b/c%"],
    ["NBD://[::1]:99/x", { kind: "tcp", host: "::1", port: 99 }, "x"],
    ["nbd+unix:///?socket=%2Frun%2Fa%20b.sock", { kind: "unix", path: "/run/a b.sock" }, ""],
    ["nbd+unix:///pl%C3%A4tte?socket=/run/x", { kind: "unix", path: "/run/x" }, "plätte"],
  ];
  for (const [address, place, exportName] of cases) {
    assert.deepEqual(parseNbdAddress(address), { place, exportName, tls: false }, address);
  }
  assert.equal(parseNbdAddress("nbds://host/x").tls, true);
  assert.equal(parseNbdAddress("nbds+unix://user@/?socket=/s&tls-psk-file=/keys").tls, true);
  assert.equal(parseNbdAddress(`nbd://h/${"x".repeat(4096)}`).exportName.length, 4096);
});

Deno.test("each part that is wrong is refused in one line that says what is wanted", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /wanted nbd:\/\/HOST\/EXPORT/],
    ["localhost:10809", /wanted nbd:\/\/HOST:PORT\/EXPORT: the form of old QEMU/],
    ["localhost:10809:exportname=disk", /the form of old QEMU/],
    ["unix:/run/nbd.sock", /wanted nbd\+unix:\/\/\/\?socket=PATH: the form of old QEMU/],
    ["nbd:localhost", /wanted nbd:\/\/HOST\/EXPORT/],
    ["http://host/x", /wanted nbd:\/\/HOST\/EXPORT/],
    ["nbd+tls://host/x", /wanted nbd:\/\/HOST\/EXPORT/],
    ["nbd:///x", /wanted a host, or the scheme nbd\+unix/],
    ["nbd://host:0/x", /port from 1 to 65535/],
    ["nbd://host:65536/x", /port from 1 to 65535/],
    ["nbd://host:ten/x", /HOST:PORT/],
    ["nbd://::1/x", /in brackets/],
    ["nbd://host/x?socket=/s", /scheme nbd\+unix/],
    ["nbd://host/x#part", /no fragment/],
    ["nbd://host/%zz", /two hexadecimal digits/],
    ["nbd://host/%ff", /of UTF-8/],
    ["nbd://host/%00", /without NUL/],
    ["nbd://host/x?tls-verify-peer=1", /no parameters of TLS, or the scheme nbds/],
    ["nbd://host/x?soket=/s", /no parameter "soket"/],
    ["nbd+unix://export?socket=/s", /three slashes/],
    ["nbd+unix:///x", /the parameter socket/],
    ["nbd+unix:///x?socket=", /the parameter socket/],
    ["nbd+unix:///x?socket=%00abstract", /abstract ones are not reached/],
    ["nbd+unix:///x?socket=/a&socket=/b", /the parameter socket once/],
    [`nbd://h/${"ä".repeat(2049)}`, /4098 bytes: wanted at most 4096/],
  ];
  for (const [address, message] of cases) {
    assert.throws(() => parseNbdAddress(address), (error: Error) => {
      assert.equal(error.name, "RangeError", address);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      return true;
    });
  }
});
