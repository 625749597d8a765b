import { ProtocolError } from '../base/errors.ts';
import { asArray, asBytes, asCount, asText, pack, unpack } from './msgpack.ts';
import type { Message } from './raft/index.ts';
import { decodeRaftMessage } from './raft-codec.ts';

/** What nodes say to each other about the cluster log: one byte for the kind, then MessagePack. */
export type PeerMessage =
  | { readonly kind: 'raft'; readonly message: Message }
  /** To the leader of `term`, and to no other. */
  | { readonly kind: 'propose'; readonly counter: bigint; readonly term: number; readonly data: Uint8Array }
  /** The proposal was not taken and never will be. */
  | { readonly kind: 'dropped'; readonly counter: bigint; readonly reason: string };

export const RAFT_KIND = Uint8Array.of(1);
const PROPOSE_KIND = Uint8Array.of(2);
const DROPPED_KIND = Uint8Array.of(3);

/** In parts, as links take them. A Raft message is RAFT_KIND and then encodeRaftMessage. */
export function encodePropose(counter: bigint, term: number, data: Uint8Array): Uint8Array[] {
  return [PROPOSE_KIND, pack([Number(counter), term, data])];
}

export function encodeDropped(counter: bigint, reason: string): Uint8Array[] {
  return [DROPPED_KIND, pack([Number(counter), reason])];
}

/** @throws ProtocolError */
export function decodePeerMessage(bytes: Uint8Array): PeerMessage {
  const body = bytes.subarray(1);
  const kind = bytes[0] ?? 0;
  switch (kind) {
    case 1:
      return { kind: 'raft', message: decodeRaftMessage(body) };
    case 2: {
      const [counter, term, data] = asArray(unpack(body), 'proposal', 3);
      return {
        kind: 'propose',
        counter: BigInt(asCount(counter, 'counter')),
        term: asCount(term, 'term'),
        data: asBytes(data, 'data'),
      };
    }
    case 3: {
      const [counter, reason] = asArray(unpack(body), 'answer', 2);
      return {
        kind: 'dropped',
        counter: BigInt(asCount(counter, 'counter')),
        reason: asText(reason, 'reason'),
      };
    }
    default:
      throw new ProtocolError('a message of unknown kind', {
        code: 'malformed',
        got: kind,
        limit: '1 to 3',
      });
  }
}
