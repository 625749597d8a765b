import { describe, expect, it } from 'vitest';
import type { PeerIdentity, PeerTransport } from '../../../../base/peer-transport.ts';
import { MemberLinks } from '../../../../storage/replication/member-links.ts';

/** Where node n2 has group g, as the cluster tells; n3 is reached by its own name always. */
let n2At: string;
const sent: string[] = [];
const transport = {
  send: (link: string) => sent.push(link) > 0,
  isUp: (link: string) => link === 'n2/1',
} as unknown as PeerTransport;
const n2: PeerIdentity = { nodeId: 'n2', incarnation: 'b' };
const n3: PeerIdentity = { nodeId: 'n3', incarnation: 'c' };

function links(up: ReadonlyMap<string, PeerIdentity>): MemberLinks {
  sent.length = 0;
  n2At = 'n2/1';
  const made = new MemberLinks({
    groupId: 'g',
    linkTo: (_, nodeId) => (nodeId === 'n2' ? n2At : nodeId),
    transport,
    up,
  });
  made.follow(['n2', 'n3'], () => {});
  return made;
}

describe('the links to the members of a group', () => {
  it('lead to the worker of a node that has the group, and to no other', () => {
    const made = links(
      new Map([
        ['n2', n2],
        ['n2/1', n2],
        ['n3', n3],
      ]),
    );
    expect(made.reached()).toEqual([n2, n3]);
    expect([made.isLink('n2', 'n2'), made.isLink('n2/1', 'n2'), made.isLink('n3', 'n3')]).toEqual([
      false,
      true,
      true,
    ]);
    for (const nodeId of ['n2', 'n3']) made.transport().send(nodeId, []);
    expect(sent).toEqual(['n2/1', 'n3']);
    expect(made.transport().isUp('n2')).toBe(true);
  });

  it('count as lost and up again where a node is told to have the group elsewhere', () => {
    const up = new Map([
      ['n2/1', n2],
      ['n3', n3],
    ]);
    const made = links(up);
    const changes: string[] = [];
    const follow = (): void =>
      made.follow(['n2', 'n3'], ({ nodeId, incarnation }, isUp) =>
        changes.push(`${nodeId}:${incarnation} ${isUp ? 'up' : 'down'}`),
      );
    follow();
    expect(changes).toEqual([]);
    n2At = 'n2';
    follow();
    // There is no such link yet; whoever has made it is told as ever.
    expect(changes).toEqual(['n2:b down']);
    n2At = 'n2/1';
    up.set('n2/1', { nodeId: 'n2', incarnation: 'b2' });
    follow();
    expect(changes).toEqual(['n2:b down', 'n2:b2 up']);
    made.transport().send('n2', []);
    expect(sent).toEqual(['n2/1']);
  });
});
