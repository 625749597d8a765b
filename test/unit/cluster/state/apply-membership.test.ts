import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command, CommandRefusal } from '../../../../cluster/state/commands.ts';
import type { ClusterState } from '../../../../cluster/state/model.ts';
import { applyAll, endpointsOf, fence, register, runningCluster, sha } from './fixtures.ts';

const token = (id: string, secret: string, more: Partial<{ atMs: number; expiresAtMs: number }> = {}) => ({
  type: 'createJoinToken' as const,
  id,
  secretSha256: sha(secret),
  atMs: more.atMs ?? 1000,
  expiresAtMs: more.expiresAtMs ?? 2000,
  by: 'admin',
});

const join = (n: number, secret: string, more: Partial<{ atMs: number; keySha256: string }> = {}) => ({
  type: 'addNode' as const,
  nodeId: `n${n}`,
  endpoints: endpointsOf(n),
  secretSha256: sha(secret),
  keySha256: more.keySha256 ?? sha('e'),
  atMs: more.atMs ?? 1500,
});

const act = (type: 'drainNode' | 'undrainNode' | 'removeNode', n: number): Command => ({
  type,
  nodeId: `n${n}`,
  atMs: 3000,
  by: 'admin',
});

function refusalOf(state: ClusterState, command: Command): CommandRefusal {
  const outcome = apply(state, command);
  expect(outcome.state).toBe(state);
  if (outcome.result.ok) throw new Error(`${command.type} was accepted`);
  return outcome.result.error;
}

describe('a join token', () => {
  it('lets one node in, under a Raft id of its own, and is used up by that', () => {
    const state = applyAll(runningCluster(), token('t1', '1'), join(4, '1'));
    expect(state.nodes['n4']).toMatchObject({ raftId: 4, status: 'new', incarnation: '' });
    expect(state.nextRaftId).toBe(5);
    expect(refusalOf(state, join(5, '1')).code).toBe('join-token-used');
    // The same request again, its answer having been lost.
    expect(apply(state, join(4, '1')).result).toEqual({ ok: true, value: { nodeId: 'n4', raftId: 4 } });
    expect(refusalOf(state, join(4, '1', { keySha256: sha('f') })).code).toBe('join-token-used');
    // It holds nothing until it is asked to.
    for (const g of Object.values(state.portalGroups)) expect(g.replicas).not.toContain('n4');
  });

  it('lets in none at the address of a portal group, once every member knows of that', () => {
    const groups = runningCluster().portalGroups;
    const pg1 = { ...(groups['pg1'] as (typeof groups)[string]), address: '198.51.100.4' };
    const state = { ...runningCluster(), portalGroups: { ...groups, pg1 } };
    const older = applyAll({ ...state, stateVersion: 6 }, token('t1', '1'));
    const newer = applyAll({ ...state, stateVersion: 7 }, token('t1', '1'));
    expect(apply(older, join(4, '1')).result.ok).toBe(true);
    expect(refusalOf(newer, join(4, '1'))).toMatchObject({
      code: 'endpoint-is-portal',
      message: '198.51.100.4 is the address of portal group pg1, which moves',
    });
    expect(apply(newer, join(5, '1')).result.ok).toBe(true);
  });

  it('expires by the time that the request carries', () => {
    const state = applyAll(runningCluster(), token('t1', '1'));
    expect(refusalOf(state, join(4, '1', { atMs: 2000 })).code).toBe('join-token-expired');
    expect(apply(state, join(4, '1', { atMs: 1999 })).result.ok).toBe(true);
  });

  it('is known by its hash only, and can be revoked', () => {
    const state = applyAll(runningCluster(), token('t1', '1'));
    expect(refusalOf(state, join(4, '2')).code).toBe('bad-join-token');
    const revoked = applyAll(state, { type: 'revokeJoinToken', id: 't1', atMs: 1, by: 'admin' });
    expect(refusalOf(revoked, join(4, '1')).code).toBe('bad-join-token');
    expect(refusalOf(revoked, { type: 'revokeJoinToken', id: 't1', atMs: 1, by: 'admin' }).code).toBe(
      'unknown-join-token',
    );
  });

  it.each([
    ['no lifetime', { atMs: 1000, expiresAtMs: 1000 }],
    ['too long a one', { atMs: 1000, expiresAtMs: 1000 + 8 * 24 * 3_600_000 }],
  ])('is refused with %s', (_, times) => {
    expect(refusalOf(runningCluster(), token('t1', '1', times)).code).toBe('bad-lifetime');
  });

  it('does not let in a node under an id or at an address that is taken', () => {
    const state = applyAll(runningCluster(), token('t1', '1'));
    expect(refusalOf(state, join(3, '1')).code).toBe('node-exists');
    const elsewhere = { ...join(4, '1'), endpoints: { ...endpointsOf(4), api: endpointsOf(2).api } };
    expect(refusalOf(state, elsewhere)).toMatchObject({ code: 'endpoint-taken', got: '198.51.100.2:3' });
  });

  it('lets in no more nodes than a cluster may have', () => {
    let state = runningCluster(3);
    for (let n = 4; n <= 9; n++) state = applyAll(state, token(`t${n}`, String(n)), join(n, String(n)));
    expect(refusalOf(applyAll(state, token('t10', 'a')), join(10, 'a')).code).toBe('too-many-nodes');
  });
});

describe('removing a node', () => {
  it('is refused while it leads a portal group', () => {
    const refusal = refusalOf(runningCluster(), act('removeNode', 1));
    expect(refusal).toMatchObject({ code: 'still-primary' });
    expect(refusal.message).toContain('it still leads portal groups pg1, pg4');
  });

  it('is refused while it is the last in-sync member of a group, up or not', () => {
    let state = runningCluster(3, 1);
    state = applyAll(state, fence(2, 'a'), fence(3, 'a'));
    expect(refusalOf(state, act('removeNode', 1)).code).toBe('last-in-sync');
    expect(refusalOf(applyAll(state, fence(1, 'a')), act('removeNode', 1)).code).toBe('last-in-sync');
  });

  it('is refused while others could take its copies, or are catching up', () => {
    let state = applyAll(runningCluster(3, 1), token('t1', '1'), join(4, '1'), register(4, 'a'));
    expect(refusalOf(state, act('removeNode', 3)).code).toBe('not-placed');
    const epoch = state.portalGroups['pg1']?.epoch ?? 0;
    state = applyAll(state, { type: 'addReplica', group: 'pg1', epoch, add: 'n4' });
    expect(refusalOf(state, act('removeNode', 3)).code).toBe('catching-up');
    state = applyAll(state, {
      type: 'expandInSync',
      group: 'pg1',
      epoch: epoch + 1,
      primary: 'n1',
      add: 'n4',
      incarnation: 'a',
    });
    expect(apply(state, act('removeNode', 3)).result.ok).toBe(true);
  });

  it('is refused where it would leave a cluster without nodes, or groups below their minimum', () => {
    expect(refusalOf(runningCluster(1, 1), act('removeNode', 1)).code).toBe('last-node');
    const state = runningCluster(2, 1);
    const group = state.portalGroups['pg1'];
    if (group === undefined) throw new Error('no group');
    const strict = { ...state, portalGroups: { pg1: { ...group, minInSync: 2 } } };
    expect(refusalOf(strict, act('removeNode', 2)).code).toBe('too-few-in-sync');
  });

  it('is refused while nobody else has an image that it holds', () => {
    const state = runningCluster(2, 1);
    const image = state.images['win'];
    const version = image?.versions[0];
    if (image === undefined || version === undefined) throw new Error('no image');
    const only = { ...image, versions: [{ ...version, holders: ['n2'] }] };
    const lonely = { ...state, images: { win: only } };
    expect(refusalOf(lonely, act('removeNode', 2)).code).toBe('last-holder');
    // From a node that is down nobody could fetch it anyway.
    expect(apply(applyAll(lonely, fence(2, 'a')), act('removeNode', 2)).result.ok).toBe(true);
  });

  it('takes it out of every list, keeps its ids for ever, and is answered alike when told again', () => {
    const state = applyAll(runningCluster(3, 1), act('removeNode', 3));
    expect(state.nodes['n3']).toBeUndefined();
    expect(state.removedNodes['n3']).toEqual({ nodeId: 'n3', raftId: 3, removedAtMs: 3000 });
    expect(state.portalGroups['pg1']).toMatchObject({ replicas: ['n1', 'n2'], primary: 'n1' });
    expect(state.images['win']?.versions[0]?.holders).toEqual(['n1', 'n2']);
    expect(state.audit.at(-1)).toEqual({ atMs: 3000, event: 'node-removed', detail: 'n3, by admin' });
    expect(apply(state, act('removeNode', 3))).toEqual({
      state,
      result: { ok: true, value: { nodeId: 'n3' } },
    });
    expect(refusalOf(state, register(3, 'b')).code).toBe('node-removed');
    expect(refusalOf(applyAll(state, token('t1', '1')), join(3, '1')).code).toBe('node-id-used');
    const again = applyAll(state, token('t1', '1'), join(4, '1'));
    expect(again.nodes['n4']?.raftId).toBe(4);
  });
});

describe('draining a node', () => {
  it('keeps primaries from coming to it while another node can lead', () => {
    const state = applyAll(runningCluster(3, 1), act('drainNode', 2), fence(1, 'a'));
    expect(state.portalGroups['pg1']?.primary).toBe('n3');
    expect(applyAll(state, fence(3, 'a')).portalGroups['pg1']?.primary).toBe('n2');
  });

  it('is refused where nobody would stay, and can be taken back', () => {
    const state = applyAll(runningCluster(2, 1), act('drainNode', 1));
    expect(refusalOf(state, act('drainNode', 2)).code).toBe('nowhere-to-go');
    expect(applyAll(state, act('undrainNode', 1)).nodes['n1']).toEqual(runningCluster(2, 1).nodes['n1']);
  });
});

describe('placement', () => {
  it('moves a group to an in-sync member only, comparing the epoch', () => {
    const state = applyAll(runningCluster(3, 1), fence(3, 'a'));
    const epoch = state.portalGroups['pg1']?.epoch ?? 0;
    const move = (to: string, at = epoch): Command => ({ type: 'moveGroup', group: 'pg1', epoch: at, to });
    expect(refusalOf(state, move('n2', epoch - 1)).code).toBe('stale-epoch');
    expect(refusalOf(state, move('n3'))).toMatchObject({ code: 'not-in-sync', accepted: 'n2' });
    const alone = applyAll(state, fence(2, 'a'));
    const last = { ...move('n3'), epoch: alone.portalGroups['pg1']?.epoch ?? 0 } as Command;
    expect(refusalOf(alone, last).accepted).toBe('n3, once it is in sync: no other node is');
    expect(refusalOf(state, move('n9'))).toMatchObject({ code: 'unknown-node', accepted: 'n1, n2, n3' });
    expect(refusalOf(state, move('n1')).code).toBe('already-primary');
    const moved = applyAll(state, move('n2')).portalGroups['pg1'];
    expect(moved).toMatchObject({ primary: 'n2', epoch: epoch + 1 });
    expect(moved?.inSync).toEqual(state.portalGroups['pg1']?.inSync);
  });

  it('never drops the primary or the last in-sync member', () => {
    const state = applyAll(runningCluster(2, 1), fence(2, 'a'));
    const { epoch = 0 } = state.portalGroups['pg1'] ?? {};
    const drop = (nodeId: string): Command => ({ type: 'dropReplica', group: 'pg1', epoch, drop: nodeId });
    expect(refusalOf(state, drop('n1')).code).toBe('last-or-primary');
    expect(applyAll(state, drop('n2')).portalGroups['pg1']).toMatchObject({
      replicas: ['n1'],
      epoch: epoch + 1,
    });
  });
});
