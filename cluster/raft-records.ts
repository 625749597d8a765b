import { ProtocolError } from '../base/errors.ts';
import { asArray, asBytes, asCount, pack, unpack } from './msgpack.ts';
import type { Entry, HardState, SnapshotMetadata } from './raft/types.ts';
import {
  packEntry,
  packHardState,
  packMetadata,
  unpackEntry,
  unpackHardState,
  unpackMetadata,
} from './raft-codec.ts';
import type { SnapshotPart } from './snapshot-spool.ts';

/** What Raft keeps on disk: a series of records of which later ones overrule earlier ones. */
export type RaftRecord =
  | { readonly kind: 'hardState'; readonly hardState: HardState }
  /** Consecutive entries. All kept before from the first one's index on are void. */
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }
  /**
   * A snapshot has replaced everything up to its index; nothing that was there follows it. With an index, its
   * content is in the parts before.
   */
  | {
      readonly kind: 'snapshot';
      readonly metadata: SnapshotMetadata;
      readonly hardState: HardState;
    }
  /** A stretch of a snapshot that is being received. Without a "snapshot" after the last one it counts for nothing. */
  | { readonly kind: 'snapshotPart'; readonly part: SnapshotPart }
  /** Entries up to this index are no longer needed; those after it stay. */
  | { readonly kind: 'compacted'; readonly metadata: SnapshotMetadata; readonly hardState: HardState };

const HARD_STATE = 1;
const ENTRIES = 2;
const SNAPSHOT = 3;
const COMPACTED = 4;
const SNAPSHOT_PART = 5;

export function encodeRecord(record: RaftRecord): Uint8Array {
  switch (record.kind) {
    case 'hardState':
      return pack([HARD_STATE, packHardState(record.hardState)]);
    case 'entries':
      return pack([ENTRIES, record.entries.map(packEntry)]);
    case 'snapshot':
      return pack([SNAPSHOT, packMetadata(record.metadata), packHardState(record.hardState)]);
    case 'snapshotPart': {
      const { metadata, totalBytes, sha256, offsetBytes, bytes } = record.part;
      return pack([SNAPSHOT_PART, packMetadata(metadata), totalBytes, sha256, offsetBytes, bytes]);
    }
    case 'compacted':
      return pack([COMPACTED, packMetadata(record.metadata), packHardState(record.hardState)]);
  }
}

/** @throws ProtocolError for bytes that are no record of ours */
export function decodeRecord(bytes: Uint8Array): RaftRecord {
  const [kind, a, b, c, d, e] = asArray(unpack(bytes), 'raft record');
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
      };
    case SNAPSHOT_PART: {
      const part = {
        metadata: unpackMetadata(a),
        totalBytes: asCount(b, 'total bytes'),
        sha256: asBytes(c, 'SHA-256'),
        offsetBytes: asCount(d, 'offset'),
        bytes: asBytes(e, 'bytes'),
      };
      return { kind: 'snapshotPart', part };
    }
    case COMPACTED:
      return { kind: 'compacted', metadata: unpackMetadata(a), hardState: unpackHardState(b) };
    default:
      throw new ProtocolError('a raft record of unknown kind', {
        code: 'malformed',
        got: kind,
        limit: '1 to 5',
      });
  }
}
