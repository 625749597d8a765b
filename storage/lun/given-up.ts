/** A run of blocks given up by one record. */
export interface Extent {
  readonly first: number;
  readonly end: number;
  /** Of the record that says so. */
  readonly position: number;
}

/** The blocks of a LUN that were given up, as runs in order, none of which overlap. */
export class GivenUp {
  #extents: Extent[] = [];

  get extents(): readonly Extent[] {
    return this.#extents;
  }

  /** Starts from what another one had. */
  adopt(extents: readonly Extent[]): void {
    this.#extents = [...extents];
  }

  /** Gives blocks up, whatever gave them up before. */
  add(first: number, end: number, position: number): void {
    const from = this.#firstEndingAfter(first);
    let to = from;
    while (to < this.#extents.length && (this.#extents[to] as Extent).first < end) to++;
    const replacing: Extent[] = [{ first, end, position }];
    const [left, right] = [this.#extents[from], this.#extents[to - 1]];
    if (to > from && left !== undefined && left.first < first) replacing.unshift({ ...left, end: first });
    if (to > from && right !== undefined && right.end > end) replacing.push({ ...right, first: end });
    this.#extents.splice(from, to - from, ...replacing);
  }

  /** The run that holds the block, or else the next one after it. */
  at(block: number): Extent | undefined {
    return this.#extents[this.#firstEndingAfter(block)];
  }

  /** The smallest position of those that are in use, and forgets those met that are not; Infinity for none. */
  lowestPosition(isInUse: (extent: Extent) => boolean): number {
    let lowest = Number.POSITIVE_INFINITY;
    const gone = new Set<Extent>();
    for (const extent of this.#extents) {
      if (extent.position >= lowest) continue;
      if (isInUse(extent)) lowest = extent.position;
      else gone.add(extent);
    }
    if (gone.size > 0) this.#extents = this.#extents.filter((extent) => !gone.has(extent));
    return lowest;
  }

  #firstEndingAfter(block: number): number {
    let low = 0;
    let high = this.#extents.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#extents[middle] as Extent).end <= block) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
