import { ProtocolError } from '../base/errors.ts';
import { MAX_RECORD_PAYLOAD_BYTES } from './limits.ts';
import { asArray, asBytes, asCount, asText, pack, unpack } from './msgpack.ts';
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

/** Code of the error for a record that a newer program wrote. */
export const UNKNOWN_KIND = 'unknown-kind';

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
  /** Records or applied entries before this have been lost; until the next snapshot the node may not take part. */
  | { readonly kind: 'lost'; readonly reason: string }
  /** Entries up to this index are no longer needed; those after it stay. */
  | { readonly kind: 'compacted'; readonly metadata: SnapshotMetadata; readonly hardState: HardState };

/** The form of a kind never changes: a new form is a new kind, which older programs refuse to read over. */
const HARD_STATE = 1;
const ENTRIES = 2;
const SNAPSHOT = 3;
const COMPACTED = 4;
const SNAPSHOT_PART = 5;
const LOST = 6;

export function encodeRecord(record: RaftRecord): Uint8Array {
  switch (record.kind) {
    case 'hardState':
      return pack([HARD_STATE, packHardState(record.hardState)]);
    case 'entries':
      return pack([ENTRIES, record.entries.map(packEntry)]);
    case 'snapshot':
      return pack([SNAPSHOT, packMetadata(record.metadata), packHardState(record.hardState)]);
    case 'lost':
      return pack([LOST, record.reason]);
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
    case LOST:
      return { kind: 'lost', reason: asText(a, 'reason') };
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
        code: UNKNOWN_KIND,
        got: kind,
        limit: '1 to 6',
      });
  }
}

/** Bytes of content; what is around it does not count. */
export function sizeOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entry.data.length, 0);
}

/** Splits entries into groups of at most MAX_RECORD_PAYLOAD_BYTES, or of one. */
export function inRecords(entries: readonly Entry[]): Entry[][] {
  const groups: Entry[][] = [];
  let sizeBytes = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    if (sizeBytes + entry.data.length > MAX_RECORD_PAYLOAD_BYTES) {
      groups.push([]);
      sizeBytes = 0;
    }
    groups.at(-1)?.push(entry);
    sizeBytes += entry.data.length;
  }
  return groups;
}
