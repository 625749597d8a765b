import { asArray, asBytes, asCount, asText, pack, unpack } from './msgpack.ts';
import type { SnapshotMetadata } from './raft/index.ts';
import { packMetadata, unpackMetadata } from './raft-codec.ts';

/**
 * How a snapshot gets from the leader to a peer that has fallen behind: it is offered, the peer says from which
 * byte on it wants it, and is given one chunk for each time it says so. Offers and wants may be repeated; so after
 * a lost link or a restart it goes on from what the peer has. What is wanted at the very end is nothing more.
 */
export interface SnapshotOffer {
  /** Of the leader that offers it. */
  readonly term: number;
  readonly metadata: SnapshotMetadata;
  readonly totalBytes: number;
  /** Of the whole content; also what the messages below know it by. */
  readonly sha256: Uint8Array;
  /** Set when it answers a node that has lost its data: that node's question. */
  readonly nonce: Uint8Array | undefined;
}

export interface SnapshotChunk {
  readonly sha256: Uint8Array;
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

export interface SnapshotWant {
  readonly sha256: Uint8Array;
  readonly offsetBytes: number;
}

export interface SnapshotRefusal {
  readonly sha256: Uint8Array;
  readonly reason: string;
}

export type SnapshotMessage =
  | ({ readonly kind: 'snapshotOffer' } & SnapshotOffer)
  | ({ readonly kind: 'snapshotChunk' } & SnapshotChunk)
  | ({ readonly kind: 'snapshotWant' } & SnapshotWant)
  | ({ readonly kind: 'snapshotRefusal' } & SnapshotRefusal);

/** The first byte of each. */
const OFFER = 4;
const CHUNK = 5;
const WANT = 6;
const REFUSAL = 7;

/** In parts, as links take them. */
export function encodeSnapshotMessage(message: SnapshotMessage): Uint8Array[] {
  const { sha256 } = message;
  switch (message.kind) {
    case 'snapshotOffer': {
      const { term, metadata, totalBytes, nonce } = message;
      const body = pack([term, packMetadata(metadata), totalBytes, sha256, nonce ?? null]);
      return [Uint8Array.of(OFFER), body];
    }
    case 'snapshotChunk':
      return [Uint8Array.of(CHUNK), pack([sha256, message.offsetBytes, message.bytes])];
    case 'snapshotWant':
      return [Uint8Array.of(WANT), pack([sha256, message.offsetBytes])];
    case 'snapshotRefusal':
      return [Uint8Array.of(REFUSAL), pack([sha256, message.reason])];
  }
}

/** @returns undefined when the kind is none of these. @throws ProtocolError */
export function decodeSnapshotMessage(kind: number, body: Uint8Array): SnapshotMessage | undefined {
  switch (kind) {
    case OFFER: {
      const [term, metadata, totalBytes, sha256, nonce] = asArray(unpack(body), 'snapshot offer', 5);
      return {
        kind: 'snapshotOffer',
        term: asCount(term, 'term'),
        metadata: unpackMetadata(metadata),
        totalBytes: asCount(totalBytes, 'total bytes'),
        sha256: asBytes(sha256, 'SHA-256'),
        nonce: nonce === null ? undefined : asBytes(nonce, 'nonce'),
      };
    }
    case CHUNK: {
      const [sha256, offset, bytes] = asArray(unpack(body), 'snapshot chunk', 3);
      return {
        kind: 'snapshotChunk',
        sha256: asBytes(sha256, 'SHA-256'),
        offsetBytes: asCount(offset, 'offset'),
        bytes: asBytes(bytes, 'bytes'),
      };
    }
    case WANT: {
      const [sha256, offset] = asArray(unpack(body), 'snapshot want', 2);
      return {
        kind: 'snapshotWant',
        sha256: asBytes(sha256, 'SHA-256'),
        offsetBytes: asCount(offset, 'offset'),
      };
    }
    case REFUSAL: {
      const [sha256, reason] = asArray(unpack(body), 'snapshot refusal', 2);
      return {
        kind: 'snapshotRefusal',
        sha256: asBytes(sha256, 'SHA-256'),
        reason: asText(reason, 'reason'),
      };
    }
    default:
      return undefined;
  }
}
