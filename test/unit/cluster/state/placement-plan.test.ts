import { describe, expect, it } from 'vitest';
import type { Command } from '../../../../cluster/state/commands.ts';
import type { ClusterState } from '../../../../cluster/state/model.ts';
import { planPlacement } from '../../../../cluster/state/placement-plan.ts';
import { obstaclesToRemoval } from '../../../../cluster/state/removal.ts';
import { applyAll, endpointsOf, fence, register, runningCluster, sha } from './fixtures.ts';

function withNodes(state: ClusterState, ...numbers: readonly number[]): ClusterState {
  let next = state;
  for (const n of numbers) {
    next = applyAll(
      next,
      {
        type: 'createJoinToken',
        id: `t${n}`,
        secretSha256: sha(String(n)),
        expiresAtMs: 9,
        atMs: 1,
        by: 'a',
      },
      {
        type: 'addNode',
        nodeId: `n${n}`,
        endpoints: endpointsOf(n),
        secretSha256: sha(String(n)),
        keySha256: sha('e'),
        atMs: 2,
      },
      register(n, 'a'),
      { type: 'imageHeld', image: 'win', version: 1, holder: `n${n}` },
    );
  }
  return next;
}

/** As the primaries would, once every copy has caught up. */
function caughtUp(state: ClusterState): ClusterState {
  let next = state;
  for (const group of Object.values(state.portalGroups)) {
    for (const add of group.replicas) {
      const now = next.portalGroups[group.id];
      const node = next.nodes[add];
      if (now?.primary === undefined || node?.status !== 'up') continue;
      if (now.inSync.some((m) => m.nodeId === add)) continue;
      const { epoch, primary } = now;
      const { incarnation } = node;
      next = applyAll(next, { type: 'expandInSync', group: group.id, epoch, primary, add, incarnation });
    }
  }
  return next;
}

/** Carries out the plan to its end. @returns also what was done */
function settle(start: ClusterState): { state: ClusterState; steps: Command[] } {
  let state = start;
  const steps: Command[] = [];
  for (;;) {
    const step = planPlacement(state, 7);
    if (step === undefined) return { state, steps };
    if (steps.length > 200) throw new Error(`no end: ${JSON.stringify(steps.slice(-4))}`);
    steps.push(step);
    for (const group of Object.values(applyAll(state, step).portalGroups)) {
      // No step leaves fewer whole copies than there were, but for those that stand on leaving nodes.
      expect(group.inSync.length).toBeGreaterThan(0);
    }
    state = caughtUp(applyAll(state, step));
  }
}

const copies = (state: ClusterState): Record<string, number> => {
  const count: Record<string, number> = {};
  for (const id of Object.keys(state.nodes)) count[id] = 0;
  for (const g of Object.values(state.portalGroups))
    for (const id of g.replicas) count[id] = (count[id] ?? 0) + 1;
  return count;
};

const leads = (state: ClusterState): Record<string, number> =>
  Object.fromEntries(
    Object.keys(state.nodes).map((id) => [
      id,
      Object.values(state.portalGroups).filter((g) => g.primary === id).length,
    ]),
  );

describe('the plan', () => {
  it('has nothing to do in a cluster as it begins, whether all are up or not', () => {
    for (const nodes of [1, 2, 3]) expect(planPlacement(runningCluster(nodes, 4), 1)).toBeUndefined();
    expect(planPlacement(applyAll(runningCluster(3, 4), fence(1, 'a')), 1)).toBeUndefined();
  });

  it('gives groups copies as a cluster of one grows, then spreads them', () => {
    const two = settle(withNodes(runningCluster(1, 4), 2)).state;
    expect(copies(two)).toEqual({ n1: 4, n2: 4 });
    const three = settle(withNodes(two, 3)).state;
    expect(copies(three)).toEqual({ n1: 4, n2: 4, n3: 4 });
    const five = settle(withNodes(three, 4, 5)).state;
    for (const g of Object.values(five.portalGroups)) expect(g.inSync).toHaveLength(3);
    expect(Object.values(copies(five)).toSorted((a, b) => a - b)).toEqual([2, 2, 2, 3, 3]);
    expect(Object.values(leads(five)).toSorted((a, b) => a - b)).toEqual([0, 1, 1, 1, 1]);
  });

  it('begins no more copies at a time than may be on their way', () => {
    const state = withNodes(runningCluster(1, 4), 2);
    let next = state;
    for (let i = 0; i < 2; i++) next = applyAll(next, planPlacement(next, 1) as Command);
    expect(planPlacement(next, 1)).toBeUndefined();
    expect(planPlacement(caughtUp(next), 1)).toMatchObject({ type: 'addReplica', group: 'pg3' });
  });

  it('moves everything off a node being drained before its copies go, losing none', () => {
    const before = settle(withNodes(runningCluster(3, 4), 4)).state;
    const drained = applyAll(before, { type: 'drainNode', nodeId: 'n1', atMs: 1, by: 'a' });
    const { state, steps } = settle(drained);
    const led = leads(before)['n1'] ?? 0;
    expect(led).toBeGreaterThan(0);
    for (const step of steps.slice(0, led)) expect(step.type).toBe('moveGroup');
    expect(copies(state)).toEqual({ n1: 0, n2: 4, n3: 4, n4: 4 });
    for (const g of Object.values(state.portalGroups)) {
      expect(g.primary).not.toBe('n1');
      expect(g.inSync).toHaveLength(3);
    }
    expect(obstaclesToRemoval(state, 'n1')).toEqual([]);
  });

  it('leaves a copy on a node being drained where no other node could take it', () => {
    const state = settle(
      applyAll(runningCluster(3, 3), { type: 'drainNode', nodeId: 'n3', atMs: 1, by: 'a' }),
    ).state;
    expect(copies(state)).toEqual({ n1: 3, n2: 3, n3: 3 });
    expect(obstaclesToRemoval(state, 'n3')).toEqual([]);
    const back = applyAll(state, { type: 'undrainNode', nodeId: 'n3', atMs: 1, by: 'a' });
    const still = { mayBalance: false, givenUp: new Set<string>() };
    expect(planPlacement(back, 1, still)).toBeUndefined();
    expect(planPlacement(back, 1)).toMatchObject({ type: 'moveGroup', to: 'n3' });
  });

  it('does not drop a copy before its successor is in sync', () => {
    const start = withNodes(runningCluster(3, 1), 4);
    const leaving = applyAll(start, { type: 'drainNode', nodeId: 'n2', atMs: 1, by: 'a' });
    const added = applyAll(leaving, planPlacement(leaving, 1) as Command);
    expect(added.portalGroups['pg1']?.replicas).toEqual(['n1', 'n2', 'n3', 'n4']);
    expect(planPlacement(added, 1)).toBeUndefined();
    expect(planPlacement(caughtUp(added), 1)).toMatchObject({ type: 'dropReplica', drop: 'n2' });
  });

  it.each([
    ['that is up', (s: ClusterState) => s],
    ['that is down', (s: ClusterState) => applyAll(s, fence(2, 'a'))],
  ])('puts the replacement in the place of a node %s, and then removes that', (_, prepare) => {
    const start = prepare(withNodes(runningCluster(3, 3), 4, 5));
    const replaced = applyAll(start, {
      type: 'replaceNode',
      nodeId: 'n2',
      replacement: 'n5',
      atMs: 1,
      by: 'a',
    });
    const { state, steps } = settle(replaced);
    expect(Object.keys(state.nodes)).toEqual(['n1', 'n3', 'n4', 'n5']);
    expect(steps).toContainEqual(expect.objectContaining({ type: 'removeNode', nodeId: 'n2' }));
    const first = steps.find((s) => s.type === 'addReplica');
    expect(first).toMatchObject({ add: 'n5' });
    for (const g of Object.values(state.portalGroups)) expect(g.inSync).toHaveLength(3);
  });

  it('does not remove a replaced node that alone has the writes of a group', () => {
    let state = withNodes(runningCluster(2, 1), 3);
    state = settle(state).state;
    state = applyAll(state, fence(2, 'a'), fence(3, 'a'), fence(1, 'a'), register(2, 'b'), register(3, 'b'));
    const { state: after } = settle(
      applyAll(state, { type: 'replaceNode', nodeId: 'n1', replacement: 'n2', atMs: 1, by: 'a' }),
    );
    expect(Object.keys(after.nodes)).toContain('n1');
    expect(after.portalGroups['pg1']?.inSync).toMatchObject([{ nodeId: 'n1' }]);
  });
});
