import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entriesSizeBytes, limitSize } from '../../../../cluster/raft/entry-size.ts';
import { MemoryStorage } from '../../../../cluster/raft/index.ts';
import { Inflights } from '../../../../cluster/raft/inflights.ts';
import { RaftLog } from '../../../../cluster/raft/log.ts';
import { jointCommitted, jointVote, majorityCommitted } from '../../../../cluster/raft/quorum.ts';
import { UnstableLog } from '../../../../cluster/raft/unstable-log.ts';
import { bytes, confStateOfVoters, entry, storageWith } from './test-cluster.ts';

const silent = () => undefined;

function logOver(storage: MemoryStorage): RaftLog {
  return new RaftLog(storage, Infinity, silent);
}

describe('the log', () => {
  it('reads across storage and the unstable part as one, within the limit on size', () => {
    const log = logOver(storageWith([1], [1, 1, 1]));
    log.append([entry(3, 2, 'new'), entry(4, 2, 'new'), entry(5, 2, 'new')]);
    const one = entriesSizeBytes([entry(1, 1, '1.1')]);
    const read = (lo: number, hi: number, maxBytes: number) => {
      const entries = log.slice(lo, hi, maxBytes);
      return typeof entries === 'string' ? entries : entries.map(({ index, term }) => `${index}.${term}`);
    };
    expect(read(1, 6, Infinity)).toEqual(['1.1', '2.1', '3.2', '4.2', '5.2']);
    expect(read(1, 6, 0)).toEqual(['1.1']);
    expect(read(1, 6, one * 2)).toEqual(['1.1', '2.1']);
    expect(read(1, 6, one * 3)).toEqual(['1.1', '2.1', '3.2']);
    expect(read(2, 6, one * 1.5)).toEqual(['2.1']);
    expect(read(4, 6, one)).toEqual(['4.2']);
    expect(read(2, 2, Infinity)).toEqual([]);
  });

  it('knows terms from one below the first entry to the last', () => {
    const storage = storageWith([1], [1, 1, 2, 2]);
    storage.compact(2);
    const log = logOver(storage);
    log.append([entry(5, 3)]);
    expect([0, 1, 2, 3, 4, 5, 6].map((index) => log.term(index))).toEqual([
      'compacted',
      'compacted',
      1,
      2,
      2,
      3,
      'unavailable',
    ]);
    expect(log.slice(2, 4, Infinity)).toBe('compacted');
  });

  it('never gives up a committed entry', () => {
    const log = logOver(storageWith([1], [1, 1, 1]));
    log.commitTo(2);
    expect(() => log.append([entry(2, 2)])).toThrow(/committed/);
    expect(() => log.tryAppend({ term: 1, index: 1 }, [entry(2, 2)], 0)).toThrow(/contradicts/);
    log.commitTo(1);
    expect(log.committed).toBe(2);
    expect(() => log.commitTo(4)).toThrow(/log ends at 3/);
  });

  it('becomes that of a snapshot, which goes before any entry', () => {
    const log = logOver(storageWith([1], [1, 1]));
    const metadata = { index: 10, term: 3, confState: confStateOfVoters([1]) };
    log.restore({ metadata, data: bytes('') });
    log.append([entry(11, 3)]);
    log.commitTo(11);
    expect([log.firstIndex, log.lastIndex, log.term(10), log.term(9)]).toEqual([11, 11, 3, 'compacted']);
    expect(log.hasNextCommitted(true)).toBe(false);
    log.unstable.stableSnapshotTo(10);
    expect(log.unstable.snapshot).toBeUndefined();
  });

  it('finds where two logs may agree from one entry of the other', () => {
    const log = logOver(storageWith([1], [1, 1, 2, 2, 4, 4]));
    expect(log.findConflictByTerm(6, 5)).toEqual({ index: 6, term: 4 });
    expect(log.findConflictByTerm(6, 3)).toEqual({ index: 4, term: 2 });
    expect(log.findConflictByTerm(4, 1)).toEqual({ index: 2, term: 1 });
    expect(log.findConflictByTerm(3, 0)).toEqual({ index: 0, term: 0 });
    expect(log.findConflictByTerm(9, 1)).toEqual({ index: 9, term: 0 });
  });
});

describe('the unstable log', () => {
  function started(): UnstableLog {
    const log = new UnstableLog(5, silent);
    log.truncateAndAppend([entry(5, 1), entry(6, 1), entry(7, 1)]);
    log.acceptInProgress();
    return log;
  }
  const indexes = (log: UnstableLog) => log.nextEntries().map(({ index, term }) => `${index}.${term}`);

  it('hands out each entry once', () => {
    const log = started();
    expect([indexes(log), log.hasNextEntries]).toEqual([[], false]);
    log.truncateAndAppend([entry(8, 1)]);
    expect([indexes(log), log.hasNextEntries]).toEqual([['8.1'], true]);
  });

  it('hands out again what replaces entries under way', () => {
    const log = started();
    log.truncateAndAppend([entry(6, 2)]);
    expect(indexes(log)).toEqual(['6.2']);
    log.truncateAndAppend([entry(4, 3)]);
    expect([indexes(log), log.offset]).toEqual([['4.3'], 4]);
  });

  it('lets go of what is stable, and only of that', () => {
    const log = started();
    log.stableTo(6, 2);
    expect(log.offset).toBe(5);
    log.stableTo(9, 1);
    expect(log.offset).toBe(5);
    log.stableTo(6, 1);
    expect([log.offset, log.length, indexes(log)]).toEqual([7, 1, []]);
    log.stableTo(6, 1);
    expect(log.offset).toBe(7);
  });
});

describe('the storage in memory', () => {
  it('replaces from the first new entry on, skips what is compacted, refuses gaps', () => {
    const storage = storageWith([1], [1, 1, 1, 1]);
    storage.compact(2);
    storage.append([entry(1, 1), entry(2, 1), entry(3, 2)]);
    expect([storage.firstIndex(), storage.lastIndex(), storage.term(3)]).toEqual([3, 3, 2]);
    expect(() => storage.append([entry(5, 2)])).toThrow(/gap/);
    expect(storage.entries(2, 4, Infinity)).toBe('compacted');
    expect(storage.entries(3, 5, Infinity)).toBe('unavailable');
  });

  it('starts anew from a snapshot, but not from an older one', () => {
    const storage = storageWith([1], [1, 1]);
    const snapshot = (index: number, voters: number[]) => ({
      metadata: { index, term: 2, confState: confStateOfVoters(voters) },
      data: bytes(''),
    });
    storage.applySnapshot(snapshot(7, [1, 2]));
    storage.applySnapshot(snapshot(6, [9]));
    expect([storage.firstIndex(), storage.lastIndex(), storage.term(7)]).toEqual([8, 7, 2]);
    expect(storage.initialState().confState.voters).toEqual([1, 2]);
  });
});

describe('limits', () => {
  it('cut entries to a size, but never to nothing', () => {
    const entries = [entry(1, 1, 'aaaa'), entry(2, 1, 'bb'), entry(3, 1, 'c')];
    for (let maxBytes = 0; maxBytes < 120; maxBytes++) {
      const cut = limitSize(entries, maxBytes);
      expect(cut).toEqual(entries.slice(0, cut.length));
      if (cut.length > 1) expect(entriesSizeBytes(cut)).toBeLessThanOrEqual(maxBytes);
      expect(cut.length).toBeGreaterThan(0);
      const next = entries.slice(0, cut.length + 1);
      if (next.length > cut.length) expect(entriesSizeBytes(next)).toBeGreaterThan(maxBytes);
    }
  });

  it('on messages in flight count what is not acknowledged, through any sequence', () => {
    const steps = fc.array(fc.record({ size: fc.nat(50), free: fc.nat(12) }), { maxLength: 400 });
    fc.assert(
      fc.property(steps, (sequence) => {
        const inflights = new Inflights(8, 150);
        let model: { index: number; size: number }[] = [];
        for (const [at, { size, free }] of sequence.entries()) {
          const bytesInFlight = model.reduce((sum, one) => sum + one.size, 0);
          expect(inflights.full).toBe(model.length === 8 || bytesInFlight >= 150);
          if (!inflights.full) {
            inflights.add(at, size);
            model.push({ index: at, size });
          }
          inflights.freeThrough(at - free);
          model = model.filter(({ index }) => index > at - free);
          expect(inflights.count).toBe(model.length);
        }
      }),
    );
  });
});

describe('quorums', () => {
  const voters = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 7 });
  const acks = fc.dictionary(fc.integer({ min: 1, max: 9 }).map(String), fc.nat(20));

  it('commit the highest index that more than half have', () => {
    fc.assert(
      fc.property(voters, acks, (ids, known) => {
        const acked = (id: number) => known[String(id)];
        const have = (index: number) => ids.filter((id) => (acked(id) ?? 0) >= index).length;
        const index = majorityCommitted(new Set(ids), acked);
        expect(have(index) * 2).toBeGreaterThan(ids.length);
        expect(have(index + 1) * 2).toBeLessThanOrEqual(ids.length);
      }),
    );
  });

  it('of two halves decide together, whichever comes first', () => {
    fc.assert(
      fc.property(voters, voters, acks, (a, b, known) => {
        const [incoming, outgoing] = [new Set(a), new Set(b)];
        const swapped = { incoming: outgoing, outgoing: incoming };
        const acked = (id: number) => known[String(id)];
        const both = Math.min(majorityCommitted(incoming, acked), majorityCommitted(outgoing, acked));
        expect(jointCommitted({ incoming, outgoing }, acked)).toBe(both);
        const votes = new Map(Object.entries(known).map(([id, vote]) => [Number(id), vote > 10]));
        const result = jointVote({ incoming, outgoing }, votes);
        expect(jointVote(swapped, votes)).toBe(result);
        // Once all have voted there is nothing to wait for.
        for (const id of [...a, ...b]) if (!votes.has(id)) votes.set(id, false);
        expect(jointVote({ incoming, outgoing }, votes)).toBe(result === 'won' ? 'won' : 'lost');
      }),
    );
  });
});
