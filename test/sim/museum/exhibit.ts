/**
 * A fault that a distributed system has really had, here or elsewhere. It is put into a copy of the sources by replacing
 * some lines, which must be there exactly once; the product itself knows nothing of it.
 */
export interface Exhibit {
  readonly name: string;
  /** What goes wrong with it, and why. */
  readonly story: string;
  readonly edits: readonly Edit[];
  /** The simulator must find it within so many seeds. */
  readonly seeds: number;
  /** The first of them; default 1. Of a fault that shows itself in one seed of a thousand, to be a test in reasonable time. */
  readonly fromSeed?: number;
}

export interface Edit {
  readonly file: string;
  readonly sound: string;
  readonly faulty: string;
}
