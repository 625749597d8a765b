import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command, CommandRefusal } from '../../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { applyAll, fence, genesisInput, register, runningCluster } from './fixtures.ts';

function group(state: ClusterState, id: string): PortalGroupRecord {
  const found = state.portalGroups[id];
  if (found === undefined) throw new Error(`no group ${id}`);
  return found;
}

function members(state: ClusterState, id: string): string[] {
  return group(state, id).inSync.map((m) => `${m.nodeId}:${m.incarnation}`);
}

function refusal(state: ClusterState, command: Command): CommandRefusal {
  const outcome = apply(state, command);
  expect(outcome.state).toBe(state);
  if (outcome.result.ok) throw new Error('was accepted');
  return outcome.result.error;
}

const shrink = (state: ClusterState, id: string, remove: string): Command => ({
  type: 'shrinkInSync',
  group: id,
  epoch: group(state, id).epoch,
  primary: group(state, id).primary ?? '',
  remove,
});

const expand = (state: ClusterState, id: string, add: string, incarnation: string): Command => ({
  type: 'expandInSync',
  group: id,
  epoch: group(state, id).epoch,
  primary: group(state, id).primary ?? '',
  add,
  incarnation,
});

describe('a new cluster', () => {
  it('deals primaries out in turn and has everyone in sync, not started', () => {
    const state = makeGenesis(genesisInput(3, 4));
    expect(Object.values(state.portalGroups).map((g) => g.primary)).toEqual(['n1', 'n2', 'n3', 'n1']);
    expect(members(state, 'pg1')).toEqual(['n1:', 'n2:', 'n3:']);
    expect(group(state, 'pg1').epoch).toBe(1);
  });

  it('fills in incarnations without taking anyone out, and keeps the spread of primaries', () => {
    const state = applyAll(makeGenesis(genesisInput()), register(2, 'a'), register(1, 'a'), register(3, 'a'));
    expect(members(state, 'pg4')).toEqual(['n1:a', 'n2:a', 'n3:a']);
    expect(Object.values(state.portalGroups).map((g) => g.primary)).toEqual(['n1', 'n2', 'n3', 'n1']);
    expect(group(state, 'pg4').epoch).toBe(4);
  });

  it('goes on without a node that never starts, once it is fenced', () => {
    const state = applyAll(makeGenesis(genesisInput()), register(1, 'a'), register(2, 'a'), fence(3, ''));
    expect(members(state, 'pg3')).toEqual(['n1:a', 'n2:a']);
    // n1 leads pg1 and pg4, n2 only pg2.
    expect(group(state, 'pg3').primary).toBe('n2');
    const late = applyAll(state, register(3, 'a'));
    expect(late.nodes['n3']?.status).toBe('up');
    expect(members(late, 'pg3')).toEqual(['n1:a', 'n2:a']);
  });

  it('refuses input that cannot work', () => {
    const input = genesisInput();
    const first = input.nodes[0];
    if (first === undefined) throw new Error('no node');
    expect(() => makeGenesis({ ...input, nodes: [first, first] })).toThrow(/given twice/);
    expect(() => makeGenesis({ ...input, nodes: [] })).toThrow(/0 nodes/);
    expect(() => makeGenesis({ ...input, portalGroups: [{ id: 'pg1', address: 'x', port: 1 }] })).toThrow(
      /no IPv4 address/,
    );
    expect(() => makeGenesis({ ...input, settings: { ...input.settings, iqnPrefix: 'IQN' } })).toThrow(
      /iSCSI names/,
    );
  });
});

describe('registerNode', () => {
  it('ends the in-sync memberships of the earlier incarnation and moves its primaries away', () => {
    const before = runningCluster();
    const state = applyAll(before, register(1, 'b'));
    expect(members(state, 'pg1')).toEqual(['n2:a', 'n3:a']);
    // n1 led pg1 and pg4; n2 and n3 led one each, so each gets one more.
    expect(group(state, 'pg1').primary).toBe('n2');
    expect(group(state, 'pg4').primary).toBe('n3');
    for (const g of Object.values(state.portalGroups)) {
      expect(g.epoch).toBe(group(before, g.id).epoch + 1);
    }
  });

  it('keeps the last in-sync member, with its new incarnation, as primary', () => {
    let state = runningCluster();
    state = applyAll(state, fence(1, 'a'), fence(2, 'a'));
    expect(members(state, 'pg1')).toEqual(['n3:a']);
    state = applyAll(state, fence(3, 'a'));
    expect(group(state, 'pg1').primary).toBeUndefined();
    expect(members(state, 'pg1')).toEqual(['n3:a']);
    const epoch = group(state, 'pg1').epoch;
    // Others that return have no data to lead with.
    state = applyAll(state, register(1, 'b'));
    expect(group(state, 'pg1').primary).toBeUndefined();
    state = applyAll(state, register(3, 'b'));
    expect(group(state, 'pg1')).toMatchObject({ primary: 'n3', epoch: epoch + 1 });
    expect(members(state, 'pg1')).toEqual(['n3:b']);
  });

  it('changes nothing when told twice, and never lets a fenced incarnation back', () => {
    const state = runningCluster();
    expect(apply(state, register(1, 'a'))).toEqual({
      state,
      result: { ok: true, value: { nodeId: 'n1', incarnation: 'a' } },
    });
    const fenced = applyAll(state, fence(1, 'a'));
    expect(refusal(fenced, register(1, 'a')).code).toBe('incarnation-fenced');
    expect(refusal(state, register(9, 'a')).code).toBe('unknown-node');
    expect(refusal(state, register(1, '')).code).toBe('bad-incarnation');
  });
});

describe('fenceNode', () => {
  it('spreads the groups of one node over the survivors', () => {
    const state = applyAll(runningCluster(4, 12), fence(1, 'a'));
    const leads = new Map<string, number>();
    for (const g of Object.values(state.portalGroups)) {
      leads.set(g.primary ?? '', (leads.get(g.primary ?? '') ?? 0) + 1);
    }
    expect(Object.fromEntries(leads)).toEqual({ n2: 4, n3: 4, n4: 4 });
  });

  it('is refused for another incarnation and for a fenced node', () => {
    const state = runningCluster();
    expect(refusal(state, fence(1, 'z')).code).toBe('other-incarnation');
    expect(refusal(applyAll(state, fence(1, 'a')), fence(1, 'a')).code).toBe('already-fenced');
    expect(refusal(state, fence(8, 'a')).code).toBe('unknown-node');
  });
});

describe('changes of the in-sync set', () => {
  it('compare the epoch and the primary', () => {
    let state = runningCluster();
    const first = shrink(state, 'pg1', 'n2');
    state = applyAll(state, first);
    expect(members(state, 'pg1')).toEqual(['n1:a', 'n3:a']);
    expect(refusal(state, first).code).toBe('stale-epoch');
    expect(refusal(state, { ...shrink(state, 'pg1', 'n3'), primary: 'n3' } as Command).code).toBe(
      'stale-epoch',
    );
    state = applyAll(state, expand(state, 'pg1', 'n2', 'a'));
    expect(members(state, 'pg1')).toEqual(['n1:a', 'n3:a', 'n2:a']);
  });

  it('never take out the primary, which is also the last member', () => {
    let state = runningCluster();
    expect(refusal(state, shrink(state, 'pg1', 'n1')).code).toBe('last-or-primary');
    state = applyAll(state, shrink(state, 'pg1', 'n2'));
    state = applyAll(state, shrink(state, 'pg1', 'n3'));
    expect(refusal(state, shrink(state, 'pg1', 'n1')).code).toBe('last-or-primary');
    expect(refusal(state, shrink(state, 'pg1', 'n3')).code).toBe('not-in-sync');
  });

  it('admit only the incarnation that is up', () => {
    let state = runningCluster();
    state = applyAll(state, register(2, 'b'));
    expect(refusal(state, expand(state, 'pg1', 'n2', 'a')).code).toBe('not-up');
    expect(refusal(applyAll(state, fence(2, 'b')), expand(state, 'pg1', 'n2', 'b')).code).toBe('not-up');
    expect(refusal(state, expand(state, 'pg1', 'n3', 'a')).code).toBe('already-in-sync');
    expect(refusal(state, expand(state, 'pg1', 'n7', 'a')).code).toBe('not-a-replica');
    expect(refusal(state, { ...expand(state, 'pg1', 'n2', 'b'), group: 'pg9' } as Command).code).toBe(
      'unknown-portal-group',
    );
    expect(members(applyAll(state, expand(state, 'pg1', 'n2', 'b')), 'pg1')).toContain('n2:b');
  });
});
