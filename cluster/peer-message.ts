import { ProtocolError } from '../base/errors.ts';
import { asArray, asBoolean, asBytes, asCount, asText, pack, unpack } from './msgpack.ts';
import type { Message } from './raft/index.ts';
import { decodeRaftMessage } from './raft-codec.ts';
import { decodeSnapshotMessage, type SnapshotMessage } from './snapshot-messages.ts';

/** A change on its way to the leader. */
export interface Proposal {
  /** Among all of the node that asks. */
  readonly counter: bigint;
  /** The term in which alone it may be taken. */
  readonly term: number;
  readonly data: Uint8Array;
}

/** Why a proposal was not taken. */
export interface Dropped {
  /** "queue-full": there is too much under way. "no-leader": whoever was asked leads no more. */
  readonly code: 'queue-full' | 'no-leader';
  readonly reason: string;
}

/** What nodes say to each other about the cluster log: one byte for the kind, then MessagePack. */
export type PeerMessage =
  | { readonly kind: 'raft'; readonly message: Message }
  /** Each to the leader of its term, and to no other. */
  | { readonly kind: 'propose'; readonly proposals: readonly Proposal[] }
  /** The proposal was not taken and never will be. */
  | ({ readonly kind: 'dropped'; readonly counter: bigint } & Dropped)
  /** Of a node that has lost data, to all others: it asks for their terms, and the leader for everything. */
  | { readonly kind: 'refetchQuery'; readonly nonce: Uint8Array }
  | { readonly kind: 'refetchNote'; readonly nonce: Uint8Array; readonly term: number }
  | SnapshotMessage;

export const RAFT_KIND = Uint8Array.of(1);
const PROPOSE_KIND = Uint8Array.of(2);
const DROPPED_KIND = Uint8Array.of(3);
// 4 to 7: see snapshot-messages.ts.
const REFETCH_QUERY_KIND = Uint8Array.of(8);
const REFETCH_NOTE_KIND = Uint8Array.of(9);

/** In parts, as links take them. A Raft message is RAFT_KIND and then encodeRaftMessage. */
export function encodeProposals(proposals: readonly Proposal[]): Uint8Array[] {
  return [PROPOSE_KIND, pack(proposals.map(({ counter, term, data }) => [Number(counter), term, data]))];
}

export function encodeDropped(counter: bigint, { code, reason }: Dropped): Uint8Array[] {
  return [DROPPED_KIND, pack([Number(counter), code === 'queue-full', reason])];
}

export function encodeRefetchQuery(nonce: Uint8Array): Uint8Array[] {
  return [REFETCH_QUERY_KIND, pack([nonce])];
}

export function encodeRefetchNote(nonce: Uint8Array, term: number): Uint8Array[] {
  return [REFETCH_NOTE_KIND, pack([nonce, term])];
}

/** @throws ProtocolError */
export function decodePeerMessage(bytes: Uint8Array): PeerMessage {
  const body = bytes.subarray(1);
  const kind = bytes[0] ?? 0;
  switch (kind) {
    case 1:
      return { kind: 'raft', message: decodeRaftMessage(body) };
    case 2:
      return { kind: 'propose', proposals: asArray(unpack(body), 'proposals').map(asProposal) };
    case 3: {
      const [counter, isFull, reason] = asArray(unpack(body), 'answer', 3);
      return {
        kind: 'dropped',
        counter: BigInt(asCount(counter, 'counter')),
        code: asBoolean(isFull, 'full') ? 'queue-full' : 'no-leader',
        reason: asText(reason, 'reason'),
      };
    }
    case 8: {
      const [nonce] = asArray(unpack(body), 'refetch query', 1);
      return { kind: 'refetchQuery', nonce: asBytes(nonce, 'nonce') };
    }
    case 9: {
      const [nonce, term] = asArray(unpack(body), 'refetch note', 2);
      return { kind: 'refetchNote', nonce: asBytes(nonce, 'nonce'), term: asCount(term, 'term') };
    }
    default: {
      const message = decodeSnapshotMessage(kind, body);
      if (message !== undefined) return message;
      throw new ProtocolError('a message of unknown kind', {
        code: 'malformed',
        got: kind,
        limit: '1 to 9',
      });
    }
  }
}

function asProposal(value: unknown): Proposal {
  const [counter, term, data] = asArray(value, 'proposal', 3);
  return {
    counter: BigInt(asCount(counter, 'counter')),
    term: asCount(term, 'term'),
    data: asBytes(data, 'data'),
  };
}
