import { MAX_LEAF_ENTRIES, MERGE_BELOW_ENTRIES } from './limits.ts';

/** Halfwords of one entry: block (2), position (3), CRC32C (2); the low half comes first. */
export const ENTRY_HALFWORDS = 7;
const SPARE_ENTRIES = 8;
const HIGH = 2 ** 32;

/** Neighbouring entries, in order of their blocks. */
export interface Leaf {
  entries: Uint16Array;
  count: number;
  /** The snapshot it was made after: an older leaf belongs to snapshots as well, and is not changed. */
  stamp: number;
  /** The smallest position in it; undefined when that has to be looked for. */
  lowest: number | undefined;
}

/** What a tree held at one moment, unchanged by what becomes of the tree. */
export interface TreeSnapshot {
  readonly leaves: readonly Leaf[];
  readonly newestHigh: number;
  readonly release: () => void;
}

/**
 * A sorted map from blocks to positions and checksums in 14 bytes an entry, whatever blocks they are: a row of
 * leaves, each one array that is little longer than what it holds. Of a position the upper half keeps 16 bits, so all
 * positions must lie within 2^48 of the highest (256 TiB; positions are exact up to 2^53).
 */
export class BlockTree {
  #leaves: Leaf[] = [];
  /** The first block of each leaf. */
  #firsts: number[] = [];
  #size = 0;
  #newestHigh = 0;
  #stamp = 0;
  #snapshots = 0;
  /** Where the last search ended: neighbours are looked up one after another. */
  #leafAt = 0;
  #slotAt = 0;

  get size(): number {
    return this.#size;
  }

  /** @returns 0 when there is no entry for the block */
  position(block: number): number {
    const leaf = this.#find(block);
    return leaf === undefined ? 0 : this.#positionIn(leaf, this.#slotAt);
  }

  /** @returns 0 when there is no entry for the block */
  crc(block: number): number {
    const leaf = this.#find(block);
    if (leaf === undefined) return 0;
    const at = this.#slotAt * ENTRY_HALFWORDS;
    return (leaf.entries[at + 5] as number) + (leaf.entries[at + 6] as number) * 65_536;
  }

  set(block: number, position: number, crc: number): void {
    this.#newestHigh = Math.max(this.#newestHigh, Math.floor(position / HIGH));
    const found = this.#find(block) !== undefined;
    const leaf = found ? this.#own(this.#leafAt) : this.#insert(block);
    const { entries } = leaf;
    const at = this.#slotAt * ENTRY_HALFWORDS;
    if (found && leaf.lowest === this.#positionIn(leaf, this.#slotAt)) leaf.lowest = undefined;
    else if (leaf.lowest !== undefined && position < leaf.lowest) leaf.lowest = position;
    const low = position % HIGH;
    entries[at] = block;
    entries[at + 1] = block / 65_536;
    entries[at + 2] = low;
    entries[at + 3] = low / 65_536;
    entries[at + 4] = Math.floor(position / HIGH) % 65_536;
    entries[at + 5] = crc;
    entries[at + 6] = crc >>> 16;
  }

  /** Drops the entries of blocks from `first` to before `end`. */
  remove(first: number, end: number): void {
    this.#find(first);
    let at = this.#leafAt;
    while (at < this.#leaves.length && (this.#firsts[at] as number) < end) {
      const from = lowerBound(this.#leaves[at] as Leaf, first);
      const to = lowerBound(this.#leaves[at] as Leaf, end);
      at = this.#cut(at, from, to) ? at : at + 1;
    }
    this.#mergeAround(Math.min(at, this.#leaves.length - 1));
  }

  /** Takes entries out of a leaf. @returns whether nothing of it is left */
  #cut(leafAt: number, from: number, to: number): boolean {
    if (from >= to) return false;
    const before = this.#leaves[leafAt] as Leaf;
    this.#size -= to - from;
    this.#leafAt = 0;
    if (to - from === before.count) {
      this.#leaves.splice(leafAt, 1);
      this.#firsts.splice(leafAt, 1);
      return true;
    }
    const leaf = newLeaf(before.count - (to - from), this.#stamp);
    leaf.entries.set(before.entries.subarray(0, from * ENTRY_HALFWORDS));
    const rest = before.entries.subarray(to * ENTRY_HALFWORDS, before.count * ENTRY_HALFWORDS);
    leaf.entries.set(rest, from * ENTRY_HALFWORDS);
    leaf.count = before.count - (to - from);
    this.#leaves[leafAt] = leaf;
    this.#firsts[leafAt] = keyIn(leaf, 0);
    return false;
  }

  /** Leaves that have become small are joined: each costs memory of its own. */
  #mergeAround(leafAt: number): void {
    for (let at = Math.max(0, leafAt - 2); at <= leafAt && at + 1 < this.#leaves.length; ) {
      const [a, b] = [this.#leaves[at] as Leaf, this.#leaves[at + 1] as Leaf];
      if (a.count + b.count > MERGE_BELOW_ENTRIES) {
        at++;
        continue;
      }
      const leaf = newLeaf(a.count + b.count, this.#stamp);
      leaf.entries.set(a.entries.subarray(0, a.count * ENTRY_HALFWORDS));
      leaf.entries.set(b.entries.subarray(0, b.count * ENTRY_HALFWORDS), a.count * ENTRY_HALFWORDS);
      leaf.count = a.count + b.count;
      this.#leaves.splice(at, 2, leaf);
      this.#firsts.splice(at + 1, 1);
      leafAt--;
    }
    this.#leafAt = 0;
  }

  /** The first block at or after this one that has an entry; Infinity when there is none. */
  nextBlock(block: number): number {
    if (this.#find(block) !== undefined) return block;
    const leaf = this.#leaves[this.#leafAt];
    if (leaf === undefined) return Number.POSITIVE_INFINITY;
    if (this.#slotAt < leaf.count) return keyIn(leaf, this.#slotAt);
    return this.#firsts[this.#leafAt + 1] ?? Number.POSITIVE_INFINITY;
  }

  /** Whether all blocks from `first` to before `end` have entries. */
  hasAll(first: number, end: number): boolean {
    if (end - first > this.#size || this.#find(first) === undefined) return false;
    let left = end - first;
    let slot = this.#slotAt;
    for (let at = this.#leafAt; at < this.#leaves.length; at++, slot = 0) {
      const leaf = this.#leaves[at] as Leaf;
      const count = Math.min(left, leaf.count - slot);
      if (keyIn(leaf, slot + count - 1) !== end - left + count - 1) return false;
      left -= count;
      if (left === 0) return true;
    }
    return false;
  }

  /** Infinity when there is no entry. Looks through leaves that have changed at their lowest. */
  lowestPosition(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const leaf of this.#leaves) {
      leaf.lowest ??= this.#lowestIn(leaf);
      if (leaf.lowest < lowest) lowest = leaf.lowest;
    }
    return lowest;
  }

  #lowestIn(leaf: Leaf): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (let slot = 0; slot < leaf.count; slot++) lowest = Math.min(lowest, this.#positionIn(leaf, slot));
    return lowest;
  }

  /** The tree as it is now. What changes afterwards is copied first, a leaf at a time, until it is released. */
  snapshot(): TreeSnapshot {
    this.#stamp++;
    this.#snapshots++;
    let isHeld = true;
    const release = (): void => {
      if (isHeld) this.#snapshots--;
      isHeld = false;
    };
    return { leaves: this.#leaves.slice(), newestHigh: this.#newestHigh, release };
  }

  /** Starts from the entries of a snapshot, leaf by leaf. */
  adopt(leaves: readonly Uint16Array[], newestHigh: number): void {
    this.#leaves = leaves.map((entries) => {
      const count = entries.length / ENTRY_HALFWORDS;
      return { entries, count, stamp: this.#stamp, lowest: undefined };
    });
    this.#firsts = this.#leaves.map((leaf) => keyIn(leaf, 0));
    this.#size = this.#leaves.reduce((sum, leaf) => sum + leaf.count, 0);
    this.#newestHigh = newestHigh;
    this.#leafAt = 0;
  }

  #positionIn({ entries }: Leaf, slot: number): number {
    const at = slot * ENTRY_HALFWORDS + 2;
    const high = this.#newestHigh - ((this.#newestHigh - (entries[at + 2] as number)) & 0xffff);
    return (entries[at] as number) + (entries[at + 1] as number) * 65_536 + high * HIGH;
  }

  /** Sets #leafAt and #slotAt to where the block is, or would be. @returns its leaf if it is there */
  #find(block: number): Leaf | undefined {
    const firsts = this.#firsts;
    let at = this.#leafAt;
    const isThere = (firsts[at] as number) <= block && block < (firsts[at + 1] ?? Number.POSITIVE_INFINITY);
    if (!isThere) at = this.#search(block);
    const leaf = this.#leaves[at];
    if (leaf === undefined) {
      this.#leafAt = 0;
      this.#slotAt = 0;
      return undefined;
    }
    const isSameLeaf = at === this.#leafAt;
    this.#leafAt = at;
    const slot = this.#slotAt;
    if (isSameLeaf && slot < leaf.count && keyIn(leaf, slot) === block) return leaf;
    const isNext = isSameLeaf && slot + 1 < leaf.count && keyIn(leaf, slot + 1) === block;
    this.#slotAt = isNext ? slot + 1 : lowerBound(leaf, block);
    return this.#slotAt < leaf.count && keyIn(leaf, this.#slotAt) === block ? leaf : undefined;
  }

  /** The last leaf that does not begin after the block; else the first. */
  #search(block: number): number {
    const firsts = this.#firsts;
    let low = 0;
    let high = firsts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((firsts[middle] as number) <= block) low = middle;
      else high = middle;
    }
    return low;
  }

  /** A leaf that may be changed. */
  #own(leafAt: number): Leaf {
    const leaf = this.#leaves[leafAt] as Leaf;
    if (this.#snapshots === 0 || leaf.stamp === this.#stamp) return leaf;
    const own = { ...leaf, entries: leaf.entries.slice(), stamp: this.#stamp };
    this.#leaves[leafAt] = own;
    return own;
  }

  /** Makes room at #leafAt and #slotAt, which may move. */
  #insert(block: number): Leaf {
    this.#size++;
    const last = this.#leaves[this.#leafAt];
    if (last === undefined) return this.#addLeaf(0, block);
    if (last.count === MAX_LEAF_ENTRIES) {
      // What is written in order fills leaf after leaf.
      const isAppended = this.#slotAt === last.count && keyIn(last, last.count - 1) === block - 1;
      if (isAppended) return this.#addLeaf(this.#leafAt + 1, block);
      this.#split();
    }
    const leaf = this.#own(this.#leafAt);
    const from = this.#slotAt * ENTRY_HALFWORDS;
    const end = leaf.count * ENTRY_HALFWORDS;
    if (leaf.entries.length === end) leaf.entries = grown(leaf.entries, leaf.count);
    leaf.entries.copyWithin(from + ENTRY_HALFWORDS, from, end);
    leaf.count++;
    if (this.#slotAt === 0) this.#firsts[this.#leafAt] = block;
    return leaf;
  }

  #addLeaf(leafAt: number, block: number): Leaf {
    const leaf = newLeaf(SPARE_ENTRIES, this.#stamp);
    leaf.count = 1;
    this.#leaves.splice(leafAt, 0, leaf);
    this.#firsts.splice(leafAt, 0, block);
    this.#leafAt = leafAt;
    this.#slotAt = 0;
    return leaf;
  }

  #split(): void {
    const whole = this.#leaves[this.#leafAt] as Leaf;
    const half = whole.count >> 1;
    const [left, right] = [newLeaf(half, this.#stamp), newLeaf(whole.count - half, this.#stamp)];
    left.entries.set(whole.entries.subarray(0, half * ENTRY_HALFWORDS));
    right.entries.set(whole.entries.subarray(half * ENTRY_HALFWORDS, whole.count * ENTRY_HALFWORDS));
    left.count = half;
    right.count = whole.count - half;
    this.#leaves.splice(this.#leafAt, 1, left, right);
    this.#firsts.splice(this.#leafAt + 1, 0, keyIn(right, 0));
    if (this.#slotAt > half) {
      this.#leafAt++;
      this.#slotAt -= half;
    }
  }
}

function newLeaf(capacity: number, stamp: number): Leaf {
  return { entries: new Uint16Array(capacity * ENTRY_HALFWORDS), count: 0, stamp, lowest: undefined };
}

function keyIn({ entries }: Leaf, slot: number): number {
  const at = slot * ENTRY_HALFWORDS;
  return (entries[at] as number) + (entries[at + 1] as number) * 65_536;
}

/** The first slot whose block is not below this one. */
function lowerBound(leaf: Leaf, block: number): number {
  let low = 0;
  let high = leaf.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keyIn(leaf, middle) < block) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Longer by an eighth: what is spare is memory too. */
function grown(entries: Uint16Array, count: number): Uint16Array {
  const capacity = Math.min(MAX_LEAF_ENTRIES, count + Math.max(SPARE_ENTRIES, count >> 3));
  const larger = new Uint16Array(capacity * ENTRY_HALFWORDS);
  larger.set(entries);
  return larger;
}
