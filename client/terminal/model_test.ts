import { assertEquals } from "@std/assert";
import type { Message, ServerFrameOf } from "../../protocol.ts";
import { Chats, mentions } from "./model.ts";

function chats(): Chats {
  const chats = new Chats();
  chats.me = "bob";
  return chats;
}

function from(sender: string, seq: number, recipient = "bob"): Message {
  return { sender, recipient, content: `m${seq}`, id: `${sender}${seq}`, seq };
}

function receipt(kind: "delivered" | "read", user: string, other: string, seq: number): ServerFrameOf<"receipt"> {
  return { type: "receipt", kind, user, with: other, seq, ts: "" };
}

Deno.test("Chats shows everything while no conversation is in view, and counts what is beside the one that is", () => {
  const all = chats();
  assertEquals(all.received(from("alice", 1)), { conversation: "alice", placement: "view", isSeen: true });
  all.open("alice");
  assertEquals(all.received(from("alice", 2)).placement, "view");
  assertEquals(all.received(from("carol", 3)).placement, "beside");
  assertEquals(all.received(from("dave", 4, "#ops")), { conversation: "#ops", placement: "beside", isSeen: false });
  assertEquals(all.received(from("dave", 5, "#ops")).placement, "beside");
  assertEquals(all.unread().map(({ name, unread }) => [name, unread]), [["#ops", 2], ["carol", 1]]);
  assertEquals(all.list().map(({ name }) => name), ["#ops", "carol", "alice"]);
  all.open("#ops");
  assertEquals(all.lastFrom, "#ops");
  assertEquals(all.unread().map(({ name }) => name), ["carol"]);
});

Deno.test("Chats marks an own message waiting, sent, delivered and read, and never backwards", () => {
  const all = chats();
  all.sent({ sender: "bob", recipient: "alice", content: "x", id: "1" });
  const seen = [all.lastStatus("alice")];
  all.acked("alice", "1", 7);
  seen.push(all.lastStatus("alice"));
  for (
    const moved of [
      receipt("delivered", "alice", "bob", 7),
      receipt("read", "alice", "bob", 7),
      receipt("delivered", "alice", "bob", 9),
    ]
  ) {
    all.receipt(moved);
    seen.push(all.lastStatus("alice"));
  }
  assertEquals(seen, ["waiting", "sent", "delivered", "read", "read"]);
  all.sent({ sender: "bob", recipient: "alice", content: "x", id: "2" });
  all.acked("alice", "2", 8);
  assertEquals(all.lastStatus("alice"), "delivered");
  all.sent({ sender: "bob", recipient: "alice", content: "x", id: "3" });
  all.refused("alice", "3");
  assertEquals(all.lastStatus("alice"), "refused");
});

Deno.test("Chats takes a receipt that comes before the ack into account", () => {
  const all = chats();
  all.sent({ sender: "bob", recipient: "#ops", content: "x", id: "1" });
  all.receipt(receipt("read", "alice", "#ops", 7));
  all.acked("#ops", "1", 7);
  assertEquals(all.lastStatus("#ops"), "read");
});

Deno.test("Chats forgets what is unread when another device of the user has read it", () => {
  const all = chats();
  all.open("carol");
  all.received(from("alice", 1));
  all.received(from("alice", 2));
  all.receipt(receipt("read", "bob", "alice", 1));
  assertEquals(all.unread().length, 1);
  all.receipt(receipt("read", "bob", "alice", 2));
  assertEquals(all.unread().length, 0);
});

Deno.test("Chats knows what became of an own message that comes after its receipts", () => {
  const chats = new Chats();
  chats.me = "bob";
  chats.receipt(receipt("read", "alice", "bob", 7));
  chats.received({ sender: "bob", recipient: "alice", content: "from my other device", id: "a", seq: 7 });
  assertEquals(chats.lastStatus("alice"), "read");
  chats.received({ sender: "bob", recipient: "alice", content: "newer", id: "b", seq: 8 });
  assertEquals(chats.lastStatus("alice"), "sent");
});

Deno.test("Chats hides and does not count what ignored people say", () => {
  const all = chats();
  all.open("carol");
  all.ignored.add("alice");
  assertEquals(all.received(from("alice", 1)).placement, "nowhere");
  assertEquals([all.unread().length, all.lastFrom], [0, undefined]);
});

Deno.test("Chats shows what another device of the user sent, where it is in view", () => {
  const all = chats();
  all.open("alice");
  assertEquals(all.received({ ...from("bob", 3, "alice") }), { conversation: "alice", placement: "view", isSeen: false });
  assertEquals(all.received(from("bob", 4, "carol")), { conversation: "carol", placement: "nowhere", isSeen: false });
  assertEquals(all.unread().length, 0);
});

Deno.test("Chats believes a typing signal for a while, until the message comes", () => {
  const all = chats();
  all.typing({ type: "typing", sender: "alice", recipient: "bob" }, 1_000);
  assertEquals([all.typist("alice", 6_999), all.typist("alice", 7_000)], ["alice", undefined]);
  all.typing({ type: "typing", sender: "alice", recipient: "#ops" }, 1_000);
  all.received(from("alice", 1, "#ops"));
  assertEquals(all.typist("#ops", 2_000), undefined);
});

Deno.test("Chats takes counts from the server, but not for what is in view or ignored", () => {
  const all = chats();
  all.open("alice");
  all.ignored.add("eve");
  const row = (name: string) => ({ with: name, seq: 9, read: 1, unread: 3, last: from(name, 9) });
  all.load([row("alice"), row("carol"), row("eve"), { with: "#ops", seq: 4, read: 0, unread: 1 }]);
  assertEquals(all.unread().map(({ name, unread }) => [name, unread]), [["carol", 3], ["#ops", 1]]);
  assertEquals([all.names(), all.people()], [["#ops", "alice", "carol", "eve"], ["carol", "alice", "eve"]]);
});

Deno.test("Chats counts as unread what nobody saw: while the person is away, and what is missed with no view open", () => {
  const all = chats();
  all.isCaughtUp = false;
  assertEquals(all.received(from("alice", 1)), { conversation: "alice", placement: "view", isSeen: false });
  all.isCaughtUp = true;
  assertEquals(all.received(from("carol", 2)).isSeen, true);
  all.open("alice");
  all.setAway(true);
  assertEquals(all.received(from("alice", 3)), { conversation: "alice", placement: "view", isSeen: false });
  assertEquals(all.received(from("alice", 4)).isSeen, false);
  assertEquals(all.unread().map(({ name, unread }) => [name, unread]), [["alice", 2]]);
  all.load([{ with: "alice", seq: 4, read: 1, unread: 2, last: from("alice", 4) }]);
  assertEquals(all.unread().length, 1, "the server's count, too");
  assertEquals([all.setAway(false), all.unread().length, all.setAway(false)], [4, 0, undefined]);
});

Deno.test("Chats forgets the marks of a log that is no more, and follows what waits on", () => {
  const all = chats();
  for (const id of ["1", "2"]) all.sent({ sender: "bob", recipient: "alice", content: "x", id });
  all.acked("alice", "1", 9);
  all.receipt(receipt("read", "alice", "bob", 10));
  all.received(from("alice", 10));
  all.startOver();
  assertEquals(all.lastStatus("alice"), "waiting");
  all.acked("alice", "2", 3);
  assertEquals(all.lastStatus("alice"), "sent", "nobody has seen the third of the new log");
  all.open("carol");
  all.received(from("alice", 4));
  all.receipt(receipt("read", "bob", "alice", 4));
  assertEquals(all.unread().length, 0, "and what is read in it counts");
});

Deno.test("Chats takes what ignored people said off the server's count, and never below nothing", () => {
  const all = chats();
  all.load([{ with: "#ops", seq: 4, read: 0, unread: 3 }]);
  all.takeOff("#ops", 2);
  assertEquals(all.get("#ops").unread, 1);
  all.takeOff("#ops", 2);
  assertEquals(all.get("#ops").unread, 0);
});

Deno.test("mentions finds a name as a word of its own", () => {
  for (const text of ["bob", "hi @Bob!", "(bob)"]) assertEquals(mentions(text, "bob"), true, text);
  for (const text of ["bobby", "kabob", "b.o.b"]) assertEquals(mentions(text, "bob"), false, text);
  assertEquals(mentions("a.b", "a.b") && !mentions("axb", "a.b"), true);
});

Deno.test("Chats counts and shows nothing of a muted conversation, but for mentions, until its time is over", () => {
  let now = 0;
  const chats = new Chats(() => now);
  chats.me = "bob";
  chats.open("alice");
  chats.muted.set("#ops", { mentions: true, until: Infinity }).set("carol", { mentions: false, until: 1_000 });
  const say = (sender: string, recipient: string, content: string) =>
    chats.received({ sender, recipient, content, seq: ++seq }).placement;
  let seq = 0;
  assertEquals([say("dave", "#ops", "hm"), say("carol", "bob", "bob?")], ["nowhere", "nowhere"]);
  assertEquals(chats.unread(), []);
  assertEquals(say("dave", "#ops", "@bob look"), "beside");
  assertEquals(chats.unread().map(({ name, unread }) => [name, unread]), [["#ops", 2]]);
  now = 1_000;
  assertEquals([say("carol", "bob", "still there?"), chats.muted.has("carol")], ["beside", false]);
});

Deno.test("Chats goes to the unread conversation that has waited longest, and numbers conversations once", () => {
  const chats = new Chats();
  chats.me = "bob";
  chats.received({ sender: "alice", recipient: "bob", content: "1", seq: 1 });
  chats.received({ sender: "carol", recipient: "bob", content: "2", seq: 2 });
  chats.open("dave");
  assertEquals(chats.nextUnread(), undefined); // all were in view
  chats.received({ sender: "carol", recipient: "bob", content: "3", seq: 3 });
  chats.received({ sender: "alice", recipient: "bob", content: "4", seq: 4 });
  assertEquals(chats.nextUnread(), "carol");
  const numbers = () => ["alice", "carol", "dave"].map((name) => chats.get(name).number);
  chats.list();
  const before = numbers();
  assertEquals(before.toSorted(), [1, 2, 3]);
  chats.received({ sender: "dave", recipient: "bob", content: "5", seq: 5 });
  chats.list();
  assertEquals([numbers(), chats.numbered(before[2]!), chats.numbered(4)], [before, "dave", undefined]);
});
