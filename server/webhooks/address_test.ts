import { assert, assertEquals } from "@std/assert";
import { bytesOf, whyRefused } from "./address.ts";

Deno.test("addresses of this machine, of private networks and of nobody are refused, however they are written", () => {
  for (
    const address of [
      ...["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254"],
      ...[
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "224.0.0.1",
        "255.255.255.255",
      ],
      ...[
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "fc00::1",
        "fdff::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
      ],
      ...["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "0:0:0:0:0:ffff:7f00:1"],
      ...["64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:c0a8:101::1", "64:ff9b:1::10.0.0.1"],
      ...["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1::2::3", "12345::", ":::"],
    ]
  ) assert(whyRefused(address) !== undefined, address);
});

Deno.test("addresses of the internet are taken, up to the edges of what is refused", () => {
  for (
    const address of [
      ...[
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
      ],
      ...["172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"],
      ...["2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"],
    ]
  ) assertEquals(whyRefused(address), undefined, address);
});

Deno.test("an address is read as its bytes", () => {
  assertEquals(bytesOf("1.2.3.4"), [1, 2, 3, 4]);
  assertEquals(bytesOf("1::2"), [0, 1, ...Array(12).fill(0), 0, 2]);
  assertEquals(bytesOf("::ffff:1.2.3.4"), [...Array(10).fill(0), 255, 255, 1, 2, 3, 4]);
});

Deno.test("hosts in other notations are addresses once a URL is read, so that the same rules hold", () => {
  for (const host of ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0x7f000001", "[::ffff:127.0.0.1]", "①②⑦.⓪.⓪.①"]) {
    const { hostname } = new URL(`http://${host}/`);
    assert(whyRefused(hostname.replace(/^\[|\]$/g, "")) !== undefined, `${host} ${hostname}`);
  }
});
