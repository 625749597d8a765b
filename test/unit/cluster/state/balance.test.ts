import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { copiesOn, leadsOf, racksOf, sharedFates } from '../../../../cluster/state/copies.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, NodeRecord, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { planStep } from '../../../../cluster/state/placement-plan.ts';
import { genesisInput } from './fixtures.ts';

interface Drawn {
  readonly weights: readonly number[];
  readonly racks: readonly (number | undefined)[];
  readonly groupCount: number;
  readonly copies: number;
  /** Where copies and primaries are at the beginning. */
  readonly shuffle: readonly number[];
}

const cluster = ({ racks, weights }: { racks: boolean; weights: boolean }): fc.Arbitrary<Drawn> =>
  fc.integer({ min: 2, max: 7 }).chain((count) =>
    fc.record({
      weights: fc.array(weights ? fc.integer({ min: 1, max: 5 }) : fc.constant(1), {
        minLength: count,
        maxLength: count,
      }),
      racks: fc.array(racks ? fc.integer({ min: 0, max: 3 }) : fc.constant(undefined), {
        minLength: count,
        maxLength: count,
      }),
      groupCount: fc.integer({ min: 1, max: 14 }),
      copies: fc.integer({ min: 1, max: 3 }),
      shuffle: fc.array(fc.nat(1000), { minLength: 60, maxLength: 60 }),
    }),
  );

/** All nodes up, everything in sync, copies anywhere. */
function stateOf({ weights, racks, groupCount, copies, shuffle }: Drawn): ClusterState {
  const count = weights.length;
  const input = genesisInput(count, groupCount);
  const state = makeGenesis({ ...input, settings: { ...input.settings, replicasPerGroup: copies } });
  const nodes = Object.fromEntries(
    Object.values(state.nodes).map((node, i): [string, NodeRecord] => [
      node.nodeId,
      {
        ...node,
        incarnation: 'a',
        status: 'up',
        assigned: { weight: weights[i] ?? 1, ...(racks[i] === undefined ? {} : { rack: `r${racks[i]}` }) },
      },
    ]),
  );
  let at = 0;
  const draw = (below: number): number => (shuffle[at++ % shuffle.length] ?? 0) % below;
  const portalGroups = Object.fromEntries(
    Object.values(state.portalGroups).map((group): [string, PortalGroupRecord] => {
      const left = Object.keys(nodes);
      const wanted = Math.min(copies, count);
      const replicas = Array.from({ length: wanted }, () => left.splice(draw(left.length), 1)[0] as string);
      const inSync = replicas.map((nodeId) => ({ nodeId, incarnation: 'a' }));
      return [group.id, { ...group, replicas, inSync, primary: replicas[draw(replicas.length)] as string }];
    }),
  );
  return { ...state, nodes, portalGroups, stateVersion: 2 };
}

/** As the primary would, once the copies have caught up. */
function caughtUp(state: ClusterState): ClusterState {
  const portalGroups = Object.fromEntries(
    Object.values(state.portalGroups).map((group): [string, PortalGroupRecord] => {
      const missing = group.replicas.filter(
        (id) => state.nodes[id]?.status === 'up' && !group.inSync.some((m) => m.nodeId === id),
      );
      if (missing.length === 0) return [group.id, group];
      const inSync = [...group.inSync, ...missing.map((nodeId) => ({ nodeId, incarnation: 'a' }))];
      return [group.id, { ...group, epoch: group.epoch + 1, inSync }];
    }),
  );
  return { ...state, portalGroups };
}

/** Carries the plan out to its end, looking at each step. */
function settle(start: ClusterState): { readonly state: ClusterState; readonly steps: readonly Command[] } {
  let state = start;
  const steps: Command[] = [];
  for (;;) {
    const step = planStep(state, 1);
    if (step === undefined) return { state, steps };
    if (steps.length > 400) throw new Error(`no end: ${JSON.stringify(steps.slice(-6))}`);
    expect(step.why).not.toBe('');
    const outcome = apply(state, step.command);
    expect(outcome.result, JSON.stringify(step)).toMatchObject({ ok: true });
    const motion = Object.values(outcome.state.portalGroups).filter(
      (g) => g.replicas.length > g.inSync.length || g.replicas.length > Object.keys(state.nodes).length,
    );
    expect(motion.length, 'copies on their way').toBeLessThanOrEqual(1);
    steps.push(step.command);
    state = caughtUp(outcome.state);
  }
}

const squares = (shares: readonly { load: number; weight: number }[]): number =>
  shares.reduce((sum, { load, weight }) => sum + (load * load) / weight, 0);

/** The least sum of squares there is, dealing units out one by one to where they add least. */
function leastSquares(weights: readonly number[], units: number, most: number): number {
  const loads = weights.map(() => 0);
  for (let unit = 0; unit < units; unit++) {
    const cost = (i: number): number =>
      (loads[i] as number) >= most
        ? Number.POSITIVE_INFINITY
        : (2 * (loads[i] as number) + 1) / (weights[i] as number);
    const best = weights.map((_, i) => i).sort((a, b) => cost(a) - cost(b))[0] as number;
    loads[best] = (loads[best] as number) + 1;
  }
  return squares(weights.map((weight, i) => ({ weight, load: loads[i] as number })));
}

const copiesIn = (state: ClusterState) => Object.keys(state.nodes).map((id) => copiesOn(state, id));
const leadsIn = (state: ClusterState) => Object.keys(state.nodes).map((id) => leadsOf(state, id));

describe('the plan, from any placement', { timeout: 120_000 }, () => {
  it('comes to an end as well while not every node knows how to remember a move', () => {
    fc.assert(
      fc.property(cluster({ racks: true, weights: true }), (drawn) => {
        const { stateVersion: _, ...first } = stateOf(drawn);
        const { state } = settle(first);
        expect(planStep(state, 1)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  it('comes to an end at which nothing is left to be done, and never less than all copies is in sync', () => {
    fc.assert(
      fc.property(cluster({ racks: true, weights: true }), (drawn) => {
        const { state } = settle(stateOf(drawn));
        expect(planStep(state, 1)).toBeUndefined();
        for (const group of Object.values(state.portalGroups)) {
          expect(group.replicas).toHaveLength(Math.min(drawn.copies, drawn.weights.length));
          expect(group.inSync).toHaveLength(group.replicas.length);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('spreads copies as evenly by weight as can be, where there are no racks', () => {
    fc.assert(
      fc.property(cluster({ racks: false, weights: true }), (drawn) => {
        const { state } = settle(stateOf(drawn));
        const units = drawn.groupCount * Math.min(drawn.copies, drawn.weights.length);
        const least = leastSquares(drawn.weights, units, drawn.groupCount);
        expect(squares(copiesIn(state))).toBeCloseTo(least, 6);
      }),
      { numRuns: 60 },
    );
  });

  it('gives equal nodes numbers of copies and of primaries that differ by one at most', () => {
    fc.assert(
      fc.property(cluster({ racks: false, weights: false }), (drawn) => {
        const { state } = settle(stateOf(drawn));
        for (const shares of [copiesIn(state), leadsIn(state)]) {
          const loads = shares.map((s) => s.load);
          expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps copies of a group in as many racks as there can be', () => {
    fc.assert(
      fc.property(cluster({ racks: true, weights: true }), (drawn) => {
        const { state } = settle(stateOf(drawn));
        const racks = racksOf(state, Object.keys(state.nodes));
        for (const { replicas } of Object.values(state.portalGroups)) {
          expect(sharedFates(state, replicas)).toBe(Math.max(0, replicas.length - racks));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('moves no more copies to a node that comes than this is to keep', () => {
    fc.assert(
      fc.property(cluster({ racks: false, weights: false }), (drawn) => {
        const before = settle(stateOf(drawn)).state;
        const newcomer: NodeRecord = { ...(before.nodes['n1'] as NodeRecord), nodeId: 'n9', raftId: 9 };
        const grown = settle({ ...before, nodes: { ...before.nodes, n9: newcomer } });
        const added = grown.steps.filter((s) => s.type === 'addReplica');
        // Where there were fewer nodes than copies wanted, it takes what was missing.
        expect(added).toHaveLength(copiesOn(grown.state, 'n9').load);
        for (const step of added) expect(step).toMatchObject({ add: 'n9' });
      }),
      { numRuns: 50 },
    );
  });

  it('moves little beside the copies of a node that leaves', () => {
    fc.assert(
      fc.property(cluster({ racks: false, weights: false }), (drawn) => {
        const before = settle(stateOf(drawn)).state;
        const lost = copiesOn(before, 'n1').load;
        const left = settle(apply(before, { type: 'drainNode', nodeId: 'n1', atMs: 1, by: 'test' }).state);
        const added = left.steps.filter((s) => s.type === 'addReplica').length;
        expect(added).toBeLessThanOrEqual(lost + drawn.weights.length);
      }),
      { numRuns: 50 },
    );
  });
});
