import { describe, expect, it } from 'vitest';
import type { PeerTransport } from '../../../base/peer-transport.ts';
import { MAX_ENTRIES_PER_MESSAGE_BYTES, MAX_UNCOMMITTED_BYTES } from '../../../cluster/limits.ts';
import { decodePeerMessage } from '../../../cluster/peer-message.ts';
import { ProposalIntake, type ProposalToTake } from '../../../cluster/proposal-intake.ts';
import type { Proposals } from '../../../cluster/proposals.ts';
import type { RawNode } from '../../../cluster/raft/index.ts';

/** A leader of term 3 that takes so many entries at once. */
function leader(takes: number): { readonly raw: RawNode; readonly taken: string[][] } {
  const taken: string[][] = [];
  const proposeAll = (data: readonly Uint8Array[]): unknown => {
    if (data.length > takes || taken.flat().length >= 3) {
      return { outcome: 'dropped', reason: 'tooMuchUncommitted' };
    }
    taken.push(data.map((bytes) => Buffer.from(bytes).toString()));
    return { outcome: 'accepted' };
  };
  const propose = (data: Uint8Array): unknown => proposeAll([data]);
  return { raw: { role: 'leader', term: 3, proposeAll, propose } as unknown as RawNode, taken };
}

function intake(
  reachable = true,
  isUp = reachable,
): {
  readonly intake: ProposalIntake;
  readonly sent: Uint8Array[];
  readonly refused: string[];
} {
  const sent: Uint8Array[] = [];
  const refused: string[] = [];
  const transport = {
    isUp: () => isUp,
    send: (_to: string, parts: readonly Uint8Array[]) => {
      if (reachable) sent.push(Buffer.concat(parts));
      return reachable;
    },
  } as unknown as PeerTransport;
  const own = {
    fail: (counter: bigint, _kind: string, code: string, reason: string) =>
      refused.push(`${counter}: ${code}, ${reason}`),
  } as unknown as Proposals;
  return { intake: new ProposalIntake(transport, own), sent, refused };
}

const proposal = (counter: bigint, data: string, term = 3, from?: string): ProposalToTake => ({
  counter,
  term,
  data: Buffer.from(data),
  from,
});

describe('the proposals of one turn', () => {
  it('go into the log as one, in order', () => {
    const { intake: made, refused } = intake();
    const { raw, taken } = leader(10);
    for (const [i, text] of ['a', 'b', 'c'].entries()) made.take(proposal(BigInt(i), text));
    made.flush(raw);
    made.flush(raw);
    expect(taken).toEqual([['a', 'b', 'c']]);
    expect(refused).toEqual([]);
  });

  it('are refused one by one where the leader has no room for all or leads in another term', () => {
    const { intake: made, refused, sent } = intake();
    const { raw, taken } = leader(1);
    made.take(proposal(1n, 'old', 2, 'n2'));
    for (const [i, text] of ['a', 'b', 'c', 'd'].entries()) made.take(proposal(BigInt(i + 2), text));
    made.flush(raw);
    expect(taken).toEqual([['a'], ['b'], ['c']]);
    expect(refused).toEqual([
      `5: queue-full, the leader has ${MAX_UNCOMMITTED_BYTES} bytes of changes under way already and takes no more`,
    ]);
    expect(sent.map(decodePeerMessage)).toEqual([
      {
        kind: 'dropped',
        counter: 1n,
        code: 'no-leader',
        reason: 'whoever was taken for the leader leads no more; ask again',
      },
    ]);
  });

  it('reach the leader in few messages, none of them too large', () => {
    const { intake: made, sent } = intake();
    const large = 'x'.repeat(MAX_ENTRIES_PER_MESSAGE_BYTES / 2);
    for (let i = 0; i < 100; i++) made.forward('n1', proposal(BigInt(i), 'small'));
    for (let i = 100; i < 103; i++) made.forward('n1', proposal(BigInt(i), large));
    made.flush(leader(1).raw);
    const counters = sent.map((bytes) => {
      const message = decodePeerMessage(bytes);
      return message.kind === 'propose' ? message.proposals.map((p) => p.counter) : [];
    });
    expect(counters.length).toBe(2);
    expect(counters.flat()).toEqual(Array.from({ length: 103 }, (_, i) => BigInt(i)));
  });

  it('are refused at once where the leader cannot be reached', () => {
    const { intake: made, refused } = intake(false);
    made.forward('n1', proposal(1n, 'a'));
    made.flush(leader(1).raw);
    expect(refused).toEqual(['1: no-leader, the leader, node n1, cannot be reached from this node']);
    const { intake: full, refused: tooMany } = intake(false, true);
    full.forward('n1', proposal(1n, 'a'));
    full.flush(leader(1).raw);
    expect(tooMany).toEqual(['1: queue-full, too much waits already to be sent to the leader, node n1']);
  });
});
