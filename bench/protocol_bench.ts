import { encodeAck, encodeBase, encodeExtended } from "../hub/encoding.ts";
import type { Stored } from "../broker.ts";
import { linesOf, parseClientFrame } from "../protocol.ts";

const CONTENT = "Lunch at noon, the usual place? I could bring the drafts.";
const PLAIN = `{"sender":"alice","recipient":"bob","content":"${CONTENT}","id":"9f2c61aa"}`;
const ESCAPED = `{"sender":"alice","recipient":"bob","content":"${CONTENT}\\n","id":"9f2c61aa"}`;
const RECEIPT = '{"type":"receipt","kind":"read","with":"alice","seq":1232}';
const LINES = Array.from({ length: 16 }, () => PLAIN).join("\n");
const STORED: Stored = {
  sender: "alice",
  recipient: "bob",
  content: CONTENT,
  id: "9f2c61aa",
  origin: "laptop",
  seq: 1232,
  ts: 1_790_000_000_000,
};

Deno.bench("JSON.parse alone", { group: "parse", baseline: true }, () => void JSON.parse(PLAIN));
Deno.bench("parse a plain message", { group: "parse" }, () => void parseClientFrame(PLAIN));
Deno.bench("parse a message with an escape", { group: "parse" }, () => void parseClientFrame(ESCAPED));
Deno.bench("parse a receipt", { group: "parse" }, () => void parseClientFrame(RECEIPT));
Deno.bench("parse a frame of 16 lines", { group: "parse" }, () => {
  for (const line of linesOf(LINES)) parseClientFrame(line);
});

Deno.bench("JSON.stringify alone", { group: "encode", baseline: true }, () => void JSON.stringify(STORED));
Deno.bench("encode for the base level", { group: "encode" }, () => void encodeBase(STORED));
Deno.bench("encode for the extended level", { group: "encode" }, () => void encodeExtended(STORED));
Deno.bench(
  "encode an ack",
  { group: "encode" },
  () => void encodeAck("9f2c61aa", { seq: 1232, ts: STORED.ts, duplicate: false }),
);
