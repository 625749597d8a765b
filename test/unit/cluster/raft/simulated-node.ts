import {
  type ConfState,
  type Entry,
  MemoryStorage,
  type Message,
  type RawNode,
  type Snapshot,
} from '../../../../cluster/raft/index.ts';

/** The state machine: every entry applied, and the configuration, on disk in one piece. */
export interface Applied {
  index: number;
  term: number;
  digest: string;
  confState: ConfState;
}

/** Hands out the newest applied state as its snapshot, so that it knows every member. */
export class SimulatedStorage extends MemoryStorage {
  readonly #applied: () => Applied;

  constructor(applied: () => Applied) {
    super();
    this.#applied = applied;
  }

  override snapshot(): Snapshot {
    const { index, term, digest, confState } = this.#applied();
    return { metadata: { index, term, confState }, data: Buffer.from(digest) };
  }
}

export interface SimulatedNode {
  readonly id: number;
  storage: MemoryStorage;
  applied: Applied;
  /** Undefined: crashed. */
  raft: RawNode | undefined;
  /** Writes handed out and not carried out; a crash loses them. */
  appendQueue: Message[];
  applyQueue: Message[];
}

/** Entries after `last` vanish from the disk. */
export function loseTail(node: SimulatedNode, last: number): void {
  const { storage, applied } = node;
  const kept = storage.entries(applied.index + 1, last + 1, Number.POSITIVE_INFINITY);
  const shorter = new SimulatedStorage(() => node.applied);
  shorter.setHardState(storage.initialState().hardState);
  if (applied.index > 0) shorter.applySnapshot(storage.snapshot());
  if (typeof kept !== 'string') shorter.append(kept);
  node.storage = shorter;
}

export function checkMatching(a: SimulatedNode, b: SimulatedNode): void {
  const first = Math.max(a.storage.firstIndex(), b.storage.firstIndex());
  const last = Math.min(a.storage.lastIndex(), b.storage.lastIndex());
  if (first > last) return;
  const logA = a.storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
  const logB = b.storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
  if (typeof logA === 'string' || typeof logB === 'string') return;
  let agreed = false;
  for (let at = last - first; at >= 0; at--) {
    const [x, y] = [logA[at] as Entry, logB[at] as Entry];
    agreed ||= x.term === y.term;
    check(!agreed || sameEntry(x, y), `logs of ${a.id} and ${b.id} differ at ${x.index} below agreement`);
  }
}

export function digestOf(before: string, entry: Entry): string {
  // Short and order-sensitive is enough: the entries themselves are compared as well.
  let hash = 0;
  for (const char of `${before}|${entry.term}.${entry.type}.${Buffer.from(entry.data).toString('hex')}`) {
    hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
  }
  return hash.toString(16);
}

export function sameEntry(a: Entry, b: Entry): boolean {
  return (
    a.index === b.index && a.term === b.term && a.type === b.type && Buffer.compare(a.data, b.data) === 0
  );
}

export function check(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`violated: ${message}`);
}
