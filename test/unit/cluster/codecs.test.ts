import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../base/errors.ts';
import {
  decodePeerMessage,
  encodeDropped,
  encodeProposals,
  RAFT_KIND,
} from '../../../cluster/peer-message.ts';
import type { ConfState, Entry, Message } from '../../../cluster/raft/index.ts';
import { decodeRaftMessage, encodeRaftMessage } from '../../../cluster/raft-codec.ts';
import { decodeRecord, encodeRecord, type RaftRecord } from '../../../cluster/raft-records.ts';
import { encodeSnapshotMessage, type SnapshotMessage } from '../../../cluster/snapshot-messages.ts';

const count = fc.nat();
const bytes = fc.uint8Array({ maxLength: 20 }).map((b) => Buffer.from(b));
const entry: fc.Arbitrary<Entry> = fc.record({
  term: count,
  index: count,
  type: fc.constantFrom('normal' as const, 'confChange' as const, 'confChangeV2' as const),
  data: bytes,
});
const confState: fc.Arbitrary<ConfState> = fc.record({
  voters: fc.array(count),
  learners: fc.array(count),
  votersOutgoing: fc.array(count),
  learnersNext: fc.array(count),
  autoLeave: fc.boolean(),
});
const metadata = fc.record({ index: count, term: count, confState });
const hardState = fc.record({ term: count, vote: count, commit: count });

function isProtocolError(run: () => unknown): boolean {
  try {
    run();
  } catch (error) {
    return error instanceof ProtocolError;
  }
  return false;
}

const MEMBERS: ConfState = {
  voters: [1, 2],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

const VOTE: Message = {
  type: 'MsgVote',
  to: 2,
  from: 1,
  term: 3,
  logTerm: 2,
  index: 9,
  commit: 0,
  reject: false,
  rejectHint: 0,
  entries: [],
};

describe('a Raft message', () => {
  it('has this form on the wire', () => {
    const encoded = encodeRaftMessage(VOTE) ?? new Uint8Array();
    // An array of 11: type 2, to, from, term, logTerm, index, commit, reject, hint, nil, no entries.
    expect(Buffer.from(encoded).toString('hex')).toBe('9b02020103020900c200c090');
    expect(decodeRaftMessage(encoded)).toEqual(VOTE);
  });

  it('comes back as it went', () => {
    const message: fc.Arbitrary<Message> = fc.record(
      {
        type: fc.constantFrom('MsgApp' as const, 'MsgVote' as const, 'MsgHeartbeatResp' as const),
        to: count,
        from: count,
        term: count,
        logTerm: count,
        index: count,
        commit: count,
        reject: fc.boolean(),
        rejectHint: count,
        entries: fc.array(entry, { maxLength: 4 }),
        context: bytes,
      },
      {
        requiredKeys: [
          'type',
          'to',
          'from',
          'term',
          'logTerm',
          'index',
          'commit',
          'reject',
          'rejectHint',
          'entries',
        ],
      },
    );
    fc.assert(
      fc.property(message, (m) => {
        expect(decodeRaftMessage(encodeRaftMessage(m) ?? new Uint8Array())).toEqual(m);
      }),
    );
  });

  it('is refused when cut short anywhere, and whatever else is sent', () => {
    const encoded =
      encodeRaftMessage({ ...VOTE, type: 'MsgApp', context: Buffer.from('ab') }) ?? new Uint8Array();
    for (let end = 0; end < encoded.length; end++) {
      expect(isProtocolError(() => decodeRaftMessage(encoded.subarray(0, end)))).toBe(true);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        expect(isProtocolError(() => decodeRaftMessage(noise))).toBe(true);
      }),
    );
  });

  it('of a kind that is for this node alone is not encoded', () => {
    expect(encodeRaftMessage({ ...VOTE, type: 'MsgStorageAppend' })).toBeUndefined();
    expect(encodeRaftMessage({ ...VOTE, type: 'MsgHup' })).toBeUndefined();
    // Snapshots go in chunks, each of which is checked.
    expect(encodeRaftMessage({ ...VOTE, type: 'MsgSnap' })).toBeUndefined();
  });
});

describe('a message between nodes', () => {
  const join = (parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);

  it('comes back as it went', () => {
    const propose = join(encodeProposals([{ counter: 7n, term: 3, data: Buffer.from('xy') }]));
    expect(Buffer.from(propose).toString('hex')).toBe('0291930703c4027879');
    expect(decodePeerMessage(propose)).toEqual({
      kind: 'propose',
      proposals: [{ counter: 7n, term: 3, data: Buffer.from('xy') }],
    });
    const dropped = join(encodeDropped(7n, { code: 'queue-full', reason: 'no' }));
    expect(Buffer.from(dropped).toString('hex')).toBe('039307c3a26e6f');
    expect(decodePeerMessage(dropped)).toEqual({
      kind: 'dropped',
      counter: 7n,
      code: 'queue-full',
      reason: 'no',
    });
    const raft = join([RAFT_KIND, encodeRaftMessage(VOTE) ?? new Uint8Array()]);
    expect(decodePeerMessage(raft)).toEqual({ kind: 'raft', message: VOTE });
    const sha256 = Buffer.alloc(32, 7);
    const about: SnapshotMessage[] = [
      {
        kind: 'snapshotOffer',
        term: 3,
        metadata: { index: 9, term: 2, confState: MEMBERS },
        totalBytes: 5,
        sha256,
        nonce: undefined,
      },
      { kind: 'snapshotChunk', sha256, offsetBytes: 2, bytes: Buffer.from('abc') },
      { kind: 'snapshotWant', sha256, offsetBytes: 2 },
      { kind: 'snapshotRefusal', sha256, reason: 'no' },
    ];
    const snapshots = about.map((message) => join(encodeSnapshotMessage(message)));
    expect(snapshots.map(decodePeerMessage)).toEqual(about);
    for (const message of [propose, dropped, raft, ...snapshots]) {
      for (let end = 0; end < message.length; end++) {
        expect(isProtocolError(() => decodePeerMessage(message.subarray(0, end)))).toBe(true);
      }
    }
    expect(isProtocolError(() => decodePeerMessage(Uint8Array.of(9)))).toBe(true);
  });
});

describe('a record', () => {
  const record: fc.Arbitrary<RaftRecord> = fc.oneof(
    fc.record({ kind: fc.constant('hardState' as const), hardState }),
    fc.record({ kind: fc.constant('entries' as const), entries: fc.array(entry, { maxLength: 5 }) }),
    fc.record({ kind: fc.constant('snapshot' as const), metadata, hardState }),
    fc.record({
      kind: fc.constant('snapshotPart' as const),
      part: fc.record({ metadata, totalBytes: count, sha256: bytes, offsetBytes: count, bytes }),
    }),
    fc.record({ kind: fc.constant('compacted' as const), metadata, hardState }),
    fc.record({ kind: fc.constant('lost' as const), reason: fc.string() }),
  );

  it('has this form on disk', () => {
    const encoded = encodeRecord({ kind: 'hardState', hardState: { term: 5, vote: 2, commit: 300 } });
    expect(Buffer.from(encoded).toString('hex')).toBe('9201930502cd012c');
  });

  it('comes back as it went, and not when cut short', () => {
    fc.assert(
      fc.property(record, (r) => {
        const encoded = encodeRecord(r);
        expect(decodeRecord(encoded)).toEqual(r);
        for (let end = 0; end < encoded.length; end++) {
          expect(isProtocolError(() => decodeRecord(encoded.subarray(0, end)))).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });
});
