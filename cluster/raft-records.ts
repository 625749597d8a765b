import { ProtocolError } from '../base/errors.ts';
import { asArray, asBytes, pack, unpack } from './msgpack.ts';
import type { Entry, HardState, SnapshotMetadata } from './raft/types.ts';
import {
  packEntry,
  packHardState,
  packMetadata,
  unpackEntry,
  unpackHardState,
  unpackMetadata,
} from './raft-codec.ts';

/** What Raft keeps on disk: a series of records of which later ones overrule earlier ones. */
export type RaftRecord =
  | { readonly kind: 'hardState'; readonly hardState: HardState }
  /** Consecutive entries. All kept before from the first one's index on are void. */
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }
  /** A snapshot has replaced everything up to its index; nothing that was there follows it. */
  | {
      readonly kind: 'snapshot';
      readonly metadata: SnapshotMetadata;
      readonly hardState: HardState;
      readonly data: Uint8Array;
    }
  /** Entries up to this index are no longer needed; those after it stay. */
  | { readonly kind: 'compacted'; readonly metadata: SnapshotMetadata; readonly hardState: HardState };

const HARD_STATE = 1;
const ENTRIES = 2;
const SNAPSHOT = 3;
const COMPACTED = 4;

export function encodeRecord(record: RaftRecord): Uint8Array {
  switch (record.kind) {
    case 'hardState':
      return pack([HARD_STATE, packHardState(record.hardState)]);
    case 'entries':
      return pack([ENTRIES, record.entries.map(packEntry)]);
    case 'snapshot':
      return pack([SNAPSHOT, packMetadata(record.metadata), packHardState(record.hardState), record.data]);
    case 'compacted':
      return pack([COMPACTED, packMetadata(record.metadata), packHardState(record.hardState)]);
  }
}

/** @throws ProtocolError for bytes that are no record of ours */
export function decodeRecord(bytes: Uint8Array): RaftRecord {
  const [kind, a, b, c] = asArray(unpack(bytes), 'raft record');
  switch (kind) {
    case HARD_STATE:
      return { kind: 'hardState', hardState: unpackHardState(a) };
    case ENTRIES:
      return { kind: 'entries', entries: asArray(a, 'entries').map(unpackEntry) };
    case SNAPSHOT:
      return {
        kind: 'snapshot',
        metadata: unpackMetadata(a),
        hardState: unpackHardState(b),
        data: asBytes(c, 'snapshot data'),
      };
    case COMPACTED:
      return { kind: 'compacted', metadata: unpackMetadata(a), hardState: unpackHardState(b) };
    default:
      throw new ProtocolError('a raft record of unknown kind', {
        code: 'malformed',
        got: kind,
        limit: '1 to 4',
      });
  }
}
