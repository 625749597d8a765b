import { describe, expect, it } from 'vitest';
import type { ConfState } from '../../../cluster/raft/index.ts';
import type { RaftRecord } from '../../../cluster/raft-records.ts';
import { RaftReplay, type RecoveredLog } from '../../../cluster/raft-replay.ts';

const confState: ConfState = {
  voters: [1, 2, 3],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

const at = (index: number) => ({
  metadata: { index, term: 2, confState },
  hardState: { term: 2, vote: 1, commit: index },
});
const snapshot = (index: number): RaftRecord => ({ kind: 'snapshot', ...at(index) });
const compacted = (index: number): RaftRecord => ({ kind: 'compacted', ...at(index) });

function replay(...records: readonly RaftRecord[]): RecoveredLog {
  const log = new RaftReplay();
  for (const [number, record] of records.entries()) log.add(record, number);
  return log.finish();
}

describe('a snapshot in the log whose content has been trimmed away', () => {
  it('is damage while the log begins with it', () => {
    expect(() => replay(snapshot(9))).toThrow('the content of the snapshot at 9 is not whole');
    expect(() => replay(compacted(5), snapshot(9))).toThrow('the content of the snapshot at 9 is not whole');
  });

  it('is in order once it has been compacted away, as its record may outlast its content', () => {
    const { base, snapshot: content } = replay(snapshot(9), compacted(12));
    expect(base.index).toBe(12);
    expect(content).toBeUndefined();
  });
});
