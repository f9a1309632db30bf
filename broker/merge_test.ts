import { assert, assertEquals } from "@std/assert";
import { seeded } from "../testing/random.ts";
import { Merge, type Source } from "./merge.ts";

/** Source of ascending positions; counts how often it is asked. */
class List implements Source<{ readonly seq: number }> {
  asked = 0;

  constructor(readonly seqs: readonly number[], readonly order: 1 | -1 = 1) {}

  take(from: number | undefined, count: number): { seq: number }[] {
    this.asked++;
    return this.seqs.filter((seq) => from === undefined || seq * this.order > from * this.order)
      .slice(0, count).map((seq) => ({ seq }));
  }
}

function rest(merge: Merge<{ readonly seq: number }>): number[] {
  const seqs: number[] = [];
  for (let item = merge.pop(); item; item = merge.pop()) seqs.push(item.seq);
  return seqs;
}

Deno.test("Merge yields the items of all sources in one order, in both directions", () => {
  const random = seeded(5);
  for (let round = 0; round < 50; round++) {
    const lists: number[][] = Array.from({ length: 1 + Math.floor(random() * 9) }, () => []);
    const all = Array.from({ length: Math.floor(random() * 400) }, (_, seq) => seq + 1);
    let list = lists[0]!;
    for (const seq of all) {
      if (random() < 0.2) list = lists[Math.floor(random() * lists.length)]!;
      list.push(seq);
    }
    const up = new Merge<{ readonly seq: number }>(1), down = new Merge<{ readonly seq: number }>(-1);
    for (const seqs of lists) {
      up.add(new List(seqs));
      if (seqs.length > 0) down.add(new List(seqs.toReversed(), -1), seqs.at(-1)! + Math.floor(random() * 3));
    }
    assertEquals(rest(up), all);
    assertEquals(rest(down), all.toReversed());
    assertEquals([up.size, up.sources], [0, 0]);
  }
});

Deno.test("Merge does not ask a source before its turn may have come", () => {
  const merge = new Merge<{ readonly seq: number }>(-1), far = new List([3, 1], -1);
  merge.add(new List([9, 8], -1), 9);
  merge.add(far, 3);
  assertEquals([merge.pop()?.seq, merge.pop()?.seq, far.asked], [9, 8, 0]);
  assertEquals([rest(merge), far.asked > 0], [[3, 1], true]);
});

Deno.test("Merge halved is complete up to the position that it says", () => {
  const merge = new Merge<{ readonly seq: number }>(1);
  for (let n = 1; n <= 9; n++) merge.add(new List([n, n + 100]));
  const upTo = merge.halve();
  assertEquals(upTo, 5);
  assertEquals(rest(merge).filter((seq) => seq <= upTo), [1, 2, 3, 4, 5]);
  assert(merge.size === 0);
});
