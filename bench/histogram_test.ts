import { assert, assertEquals } from "@std/assert";
import { Histogram } from "./histogram.ts";

Deno.test("Histogram gives exact percentiles of small values", () => {
  const histogram = new Histogram();
  for (let value = 1; value <= 50; value++) histogram.add(value);
  assertEquals(histogram.percentile(50), 25);
  assertEquals(histogram.percentile(98), 49);
  assertEquals(histogram.percentile(100), 50);
  assertEquals(histogram.percentile(0), 1);
});

Deno.test("Histogram is at most 1.6 % above the true percentile and never below it", () => {
  const histogram = new Histogram();
  const values: number[] = [];
  for (let value = 1; value < 5e7; value = Math.ceil(value * 1.003)) {
    values.push(value);
    histogram.add(value);
  }
  for (const percent of [1, 25, 50, 75, 90, 99, 99.9]) {
    const exact = values[Math.ceil(values.length * percent / 100) - 1]!;
    const found = histogram.percentile(percent);
    assert(found >= exact && found <= exact * 1.016 + 1, `p${percent}: ${found} for ${exact}`);
  }
  assertEquals(histogram.percentile(100), values.at(-1));
});

Deno.test("Histogram merges what was counted elsewhere as if it had been counted here", () => {
  const [one, other, both] = [new Histogram(), new Histogram(), new Histogram()];
  for (let i = 0; i < 1000; i++) {
    (i % 3 === 0 ? one : other).add(i * i);
    both.add(i * i);
  }
  one.merge(JSON.parse(JSON.stringify(other.toData())));
  assertEquals(one.total, both.total);
  assertEquals(one.max, both.max);
  for (const percent of [1, 50, 99, 100]) assertEquals(one.percentile(percent), both.percentile(percent));
});

Deno.test("Histogram without values has only zeros", () => {
  const histogram = new Histogram();
  assertEquals([histogram.percentile(50), histogram.max, histogram.total], [0, 0, 0]);
});
