/**
 * Merge of many ascending or descending lists of positions into one: a heap over what each has next. A page of a backlog costs
 * what it has, however many conversations the user is in.
 */

/** Items that a source is asked for at first, and at most: few at first, since most of many conversations have few. */
const TAKE_MIN = 4, TAKE_MAX = 64;

/** A list of items in the order of the merge, which is read in parts. */
export interface Source<Item> {
  /** Returns the next items beyond position `from`, about `count`; none where there are no more. Undefined asks for the first. */
  take(from: number | undefined, count: number): readonly Item[];
}

/** A source with what was read ahead of it. */
interface Entry<Item> {
  readonly source: Source<Item>;
  items: readonly Item[];
  index: number;
  /** Items that it is asked for the next time. */
  count: number;
  /** Position of the next item, times the order; of one that is not loaded yet, a bound that no item comes before. */
  key: number;
}

/** Items of many sources in one order. */
export class Merge<Item extends { readonly seq: number }> {
  readonly #order: 1 | -1;
  /** A heap by key, the smallest first. */
  readonly #heap: Entry<Item>[] = [];
  #ahead = 0;

  /** Takes 1 for ascending positions, -1 for descending ones. */
  constructor(order: 1 | -1) {
    this.#order = order;
  }

  /** Number of sources and items that are held. */
  get size(): number {
    return this.#heap.length + this.#ahead;
  }

  /** Number of sources that have something left. */
  get sources(): number {
    return this.#heap.length;
  }

  /** Adds a source. With `bound`, before which it has no item, it is not asked before its turn may have come. */
  add(source: Source<Item>, bound?: number): void {
    const entry: Entry<Item> = { source, items: [], index: 0, count: TAKE_MIN, key: 0 };
    if (bound !== undefined) entry.key = bound * this.#order;
    else if (!this.#load(entry, undefined)) return;
    this.#heap.push(entry);
    this.#rise(this.#heap.length - 1);
  }

  /** Returns the next item without taking it out; undefined where all is merged. */
  peek(): Item | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (!top) return undefined;
      if (top.items.length > 0) return top.items[top.index];
      this.#settle(this.#load(top, undefined));
    }
  }

  /** Takes out and returns the next item; undefined where all is merged. */
  pop(): Item | undefined {
    const item = this.peek();
    if (item === undefined) return undefined;
    const top = this.#heap[0]!;
    this.#ahead--;
    if (++top.index < top.items.length) {
      top.key = top.items[top.index]!.seq * this.#order;
      this.#sink();
    } else {
      this.#settle(this.#load(top, item.seq));
    }
    return item;
  }

  /** Removes the sources whose next item is in the farther half; returns the last position that the merge is complete up to. */
  halve(): number {
    const keys = this.#heap.map(({ key }) => key).sort((a, b) => a - b);
    const last = keys[(keys.length - 1) >>> 1]!;
    const kept = this.#heap.filter(({ key }) => key <= last);
    this.#ahead = kept.reduce((sum, { items, index }) => sum + items.length - index, 0);
    this.#heap.length = 0;
    for (const entry of kept) {
      this.#heap.push(entry);
      this.#rise(this.#heap.length - 1);
    }
    return last * this.#order;
  }

  /** Reads more of a source; false where there is no more. */
  #load(entry: Entry<Item>, from: number | undefined): boolean {
    entry.items = entry.source.take(from, entry.count);
    entry.index = 0;
    entry.count = Math.min(2 * entry.count, TAKE_MAX);
    this.#ahead += entry.items.length;
    if (entry.items.length === 0) return false;
    entry.key = entry.items[0]!.seq * this.#order;
    return true;
  }

  /** Puts the top where it belongs now, or takes it out. */
  #settle(isLeft: boolean): void {
    if (!isLeft) {
      const last = this.#heap.pop()!;
      if (this.#heap.length === 0) return;
      this.#heap[0] = last;
    }
    this.#sink();
  }

  #rise(index: number): void {
    const heap = this.#heap, entry = heap[index]!;
    while (index > 0) {
      const parent = (index - 1) >>> 1;
      if (heap[parent]!.key <= entry.key) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  #sink(): void {
    const heap = this.#heap, entry = heap[0]!, half = heap.length >>> 1;
    let index = 0;
    while (index < half) {
      let child = 2 * index + 1;
      if (child + 1 < heap.length && heap[child + 1]!.key < heap[child]!.key) child++;
      if (heap[child]!.key >= entry.key) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = entry;
  }
}
