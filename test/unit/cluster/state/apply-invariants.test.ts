import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, RetiredCopy } from '../../../../cluster/state/model.ts';
import { planPlacement } from '../../../../cluster/state/placement-plan.ts';
import { addClient, addVersion, endpointsOf, genesisInput, runningCluster, sha } from './fixtures.ts';

const node = fc.integer({ min: 1, max: 5 }).map((n) => `n${n}`);
const incarnation = fc.constantFrom('', 'a', 'b', 'c', 'd', 'e');
const group = fc.integer({ min: 1, max: 6 }).map((n) => `pg${n}`);

/** As a node would say that has put its copy away before it acted in the present epoch, or in those before. */
function retiredCopies(state: ClusterState, nodeId: string): RetiredCopy[] {
  const { epoch = 1, inSync = [] } = state.portalGroups['pg1'] ?? {};
  const member = inSync.find((m) => m.nodeId === nodeId);
  if (member?.disk === undefined) return [];
  return [{ disk: member.disk, epoch: Math.max(0, epoch - 2), processes: [member.incarnation] }];
}

/** Draws commands that often fit: epochs and primaries are filled in from the state when run. */
const command: fc.Arbitrary<(state: ClusterState) => Command> = fc.oneof(
  fc.tuple(node, incarnation, fc.constantFrom(undefined, 'x', 'y'), fc.integer({ min: 0, max: 9 })).map(
    ([nodeId, incarnation, disk, drawn]) =>
      (state: ClusterState): Command => ({
        type: 'registerNode',
        nodeId,
        incarnation,
        endpoints: endpointsOf(Number(nodeId.slice(1))),
        ...(disk === undefined ? {} : { disks: { pg1: `${nodeId}${disk}`, pg2: 'z' } }),
        ...(drawn < 2 ? {} : { boot: drawn < 8 ? 'first' : 'second' }),
        ...(drawn < 5 ? {} : { retired: { pg1: retiredCopies(state, nodeId) } }),
      }),
  ),
  fc.tuple(group, node, fc.boolean()).map(
    ([id, nodeId, isStart]) =>
      (state: ClusterState): Command =>
        isStart
          ? {
              type: 'startGroupFrom',
              group: id,
              epoch: state.portalGroups[id]?.epoch ?? 1,
              nodeId,
              atMs: 1,
              by: 'admin',
            }
          : {
              type: 'identifyDisk',
              nodeId,
              incarnation: state.nodes[nodeId]?.incarnation ?? '',
              group: id,
              disk: 'x',
            },
  ),
  node.map(
    (nodeId) =>
      (state: ClusterState): Command => ({
        type: 'fenceNode',
        nodeId,
        incarnation: state.nodes[nodeId]?.incarnation ?? '',
        reason: 'drawn',
      }),
  ),
  fc.tuple(group, node, fc.integer({ min: -1, max: 0 })).map(
    ([id, remove, late]) =>
      (state: ClusterState): Command => ({
        type: 'shrinkInSync',
        group: id,
        epoch: (state.portalGroups[id]?.epoch ?? 1) + late,
        primary: state.portalGroups[id]?.primary ?? 'n1',
        remove,
      }),
  ),
  fc.tuple(group, fc.integer({ min: -1, max: 0 })).map(
    ([id, late]) =>
      (state: ClusterState): Command => ({
        type: 'handOverGroup',
        group: id,
        epoch: (state.portalGroups[id]?.epoch ?? 1) + late,
        primary: state.portalGroups[id]?.primary ?? 'n1',
      }),
  ),
  fc.tuple(group, node).map(
    ([id, add]) =>
      (state: ClusterState): Command => ({
        type: 'expandInSync',
        group: id,
        epoch: state.portalGroups[id]?.epoch ?? 1,
        primary: state.portalGroups[id]?.primary ?? 'n1',
        add,
        incarnation: state.nodes[add]?.incarnation ?? '',
      }),
  ),
  fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2_000 })).map(
    ([n, atMs]) =>
      (): Command => ({
        type: 'createJoinToken',
        id: `t${n}`,
        secretSha256: sha(String(n)),
        expiresAtMs: atMs + 500,
        atMs,
        by: 'admin',
      }),
  ),
  fc.tuple(node, fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2_000 })).map(
    ([nodeId, token, atMs]) =>
      (): Command => ({
        type: 'addNode',
        nodeId,
        endpoints: endpointsOf(Number(nodeId.slice(1))),
        secretSha256: sha(String(token)),
        keySha256: sha('c'),
        atMs,
      }),
  ),
  fc.tuple(node, fc.constantFrom('drainNode' as const, 'undrainNode' as const, 'removeNode' as const)).map(
    ([nodeId, type]) =>
      (): Command => ({ type, nodeId, atMs: 1, by: 'admin' }),
  ),
  fc.tuple(node, node).map(
    ([nodeId, replacement]) =>
      (): Command => ({ type: 'replaceNode', nodeId, replacement, atMs: 1, by: 'admin' }),
  ),
  fc
    .tuple(group, node, fc.integer({ min: 0, max: 2 }))
    .map(([id, nodeId, which]) => (state: ClusterState): Command => {
      const at = { group: id, epoch: state.portalGroups[id]?.epoch ?? 1 };
      if (which === 0) return { type: 'moveGroup', ...at, to: nodeId };
      if (which === 1) return { type: 'addReplica', ...at, add: nodeId };
      return { type: 'dropReplica', ...at, drop: nodeId };
    }),
  fc
    .tuple(
      node,
      fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
      fc.constantFrom(undefined, 'a', 'b'),
    )
    .map(([nodeId, weight, rack]) => (state: ClusterState): Command => {
      const said = { ...(weight === undefined ? {} : { weight }), ...(rack === undefined ? {} : { rack }) };
      if (weight === 5)
        return {
          type: 'describeNode',
          nodeId,
          incarnation: state.nodes[nodeId]?.incarnation ?? '',
          rack: 'c',
        };
      return {
        type: 'setNode',
        nodeId,
        ...said,
        clear: weight === undefined ? ['weight'] : [],
        atMs: 1,
        by: 'admin',
      };
    }),
  fc
    .tuple(group, fc.integer({ min: 0, max: 4 }), fc.constantFrom('durable' as const, 'write-back' as const))
    .map(
      ([id, minInSync, durability]) =>
        (): Command =>
          minInSync === 0
            ? { type: 'setCluster', rebalance: durability === 'durable' ? 'off' : 'on', atMs: 1, by: 'admin' }
            : { type: 'setPortalGroup', group: id, minInSync, durability, atMs: 1, by: 'admin' },
    ),
  fc.constant((state: ClusterState): Command => {
    const nothing: Command = { type: 'removeClient', name: 'nobody' };
    return planPlacement(state, 1) ?? nothing;
  }),
  fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 })).map(
    ([n, m]) =>
      (): Command =>
        addClient(`pc-${n}`, `52:54:00:00:00:0${m}`),
  ),
  fc.tuple(fc.integer({ min: 5, max: 7 }), fc.boolean()).map(
    ([n, isAdded]) =>
      (): Command =>
        isAdded
          ? {
              type: 'addPortalGroup',
              group: `pg${n}`,
              address: `192.0.2.${100 + n}`,
              port: 3260,
              atMs: 1,
              by: 'admin',
            }
          : { type: 'removePortalGroup', group: `pg${n - 2}`, atMs: 1, by: 'admin' },
  ),
  fc.integer({ min: 0, max: 5 }).map((n) => (): Command => ({ type: 'removeClient', name: `pc-${n}` })),
  fc.tuple(node, fc.constantFrom('a', 'b')).map(
    ([holder, c]) =>
      (): Command =>
        addVersion('win', holder, sha(c)),
  ),
  fc.tuple(node, fc.integer({ min: 1, max: 3 })).map(
    ([holder, version]) =>
      (): Command => ({
        type: 'imageHeld',
        image: 'win',
        version,
        holder,
      }),
  ),
);

function checkState(state: ClusterState): void {
  for (const g of Object.values(state.portalGroups)) {
    const ids = g.inSync.map((m) => m.nodeId);
    expect(ids.length).toBeGreaterThan(0);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(g.replicas).toContain(id);
    for (const id of g.replicas) expect(Object.keys(state.nodes)).toContain(id);
    expect(new Set(g.replicas).size).toBe(g.replicas.length);
    const strayed = g.inSync.filter((m) => state.nodes[m.nodeId]?.incarnation !== m.incarnation);
    // Only the last member may have come back as another process, over another disk: then nobody serves.
    if (g.founding === true) {
      expect(g.primary).toBeUndefined();
      continue;
    }
    if (strayed.length > 0) {
      expect(g.inSync).toHaveLength(1);
      expect(strayed[0]?.disk).toBeDefined();
      expect(g.primary).toBeUndefined();
    }
    if (g.primary !== undefined) {
      expect(ids).toContain(g.primary);
      expect(state.nodes[g.primary]?.status).not.toBe('fenced');
    } else if (strayed.length === 0) {
      expect(ids.some((id) => state.nodes[id]?.status === 'up')).toBe(false);
    }
    // A fenced node's word counts nowhere but in a group that has nobody else.
    if (ids.length > 1) for (const id of ids) expect(state.nodes[id]?.status).not.toBe('fenced');
  }
  const everyNode = [...Object.values(state.nodes), ...Object.values(state.removedNodes)];
  expect(new Set(everyNode.map((n) => n.nodeId)).size).toBe(everyNode.length);
  expect(new Set(everyNode.map((n) => n.raftId)).size).toBe(everyNode.length);
  for (const n of everyNode) expect(n.raftId).toBeLessThan(state.nextRaftId);
  expect(Object.keys(state.nodes).length).toBeGreaterThan(0);
  const clients = Object.values(state.clients);
  for (const values of [
    clients.flatMap((c) => c.macs),
    clients.flatMap((c) => (c.address === undefined ? [] : [c.address])),
    clients.map((c) => c.lunId),
    clients.map((c) => c.targetName),
  ]) {
    expect(new Set<unknown>(values).size).toBe(values.length);
  }
  for (const c of clients) expect(c.lunId).toBeLessThan(state.nextLunId);
}

const NO_NOTES = { departed: undefined, retired: undefined };

function checkStep(before: ClusterState, after: ClusterState, ok: boolean, command: Command): void {
  if (!ok) expect(after).toBe(before);
  expect(after.nextLunId).toBeGreaterThanOrEqual(before.nextLunId);
  for (const id of Object.keys(before.removedNodes)) expect(after.removedNodes).toHaveProperty(id);
  for (const g of Object.values(before.portalGroups)) {
    const now = after.portalGroups[g.id];
    if (now === undefined) {
      expect(command).toMatchObject({ type: 'removePortalGroup', group: g.id });
      expect(Object.values(before.clients).some((c) => c.portalGroup === g.id)).toBe(false);
      expect(after.removedPortalGroups).toContain(g.id);
      continue;
    }
    const policy = { minInSync: g.minInSync, durability: g.durability };
    // What is only remembered of copies that are not in sync raises no epoch.
    const isNote = isDeepStrictEqual({ ...now, ...NO_NOTES }, { ...g, ...NO_NOTES });
    const changed = !isNote && command.type !== 'setPortalGroup';
    // What its writes need is none of what an epoch counts.
    if (command.type === 'setPortalGroup') expect({ ...now, ...policy }).toEqual(g);
    expect((now?.epoch ?? 0) - g.epoch).toBe(changed ? 1 : 0);
    // Whoever leads next was in sync before, or had everything when it left.
    const isForced = command.type === 'startGroupFrom';
    if (isForced && changed) expect(g.primary).toBeUndefined();
    const isResumed = now?.resumedEpoch !== g.resumedEpoch;
    if (isResumed) expect(g.departed?.map((m) => m.nodeId)).toContain(now?.primary);
    if (changed && !isForced && !isResumed && now?.primary !== undefined)
      expect(g.inSync.map((m) => m.nodeId)).toContain(now.primary);
  }
}

describe('any sequence of commands', () => {
  it.each([
    ['a new cluster', () => makeGenesis(genesisInput(3, 4))],
    ['a running cluster', () => runningCluster(3, 4)],
  ])('keeps the invariants, from %s', (_, start) => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        let state = start();
        for (const make of commands) {
          const frozen = structuredClone(state);
          const command = make(state);
          const { state: next, result } = apply(state, command);
          expect(state).toEqual(frozen);
          checkStep(state, next, result.ok, command);
          checkState(next);
          state = next;
        }
      }),
      { numRuns: 150 },
    );
  });

  it('gives the same state and results every time', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 25 }), (commands) => {
        const run = (): string => {
          let state = runningCluster(3, 4);
          const results: unknown[] = [];
          for (const make of commands) {
            const outcome = apply(state, make(state));
            results.push(outcome.result);
            state = outcome.state;
          }
          return JSON.stringify([state, results]);
        };
        expect(run()).toBe(run());
      }),
      { numRuns: 30 },
    );
  });

  it('never throws, whatever it is given', () => {
    const state = runningCluster();
    fc.assert(
      fc.property(
        fc.constantFrom(
          'registerNode',
          'fenceNode',
          'shrinkInSync',
          'expandInSync',
          'handOverGroup',
          'addImageVersion',
          'imageHeld',
          'addClient',
          'removeClient',
          'addBootFile',
          'bootFileHeld',
          'createJoinToken',
          'revokeJoinToken',
          'addNode',
          'drainNode',
          'undrainNode',
          'replaceNode',
          'removeNode',
          'moveGroup',
          'addReplica',
          'dropReplica',
          'identifyDisk',
          'startGroupFrom',
          'describeNode',
          'setNode',
          'setCluster',
          'setPortalGroup',
          'addPortalGroup',
          'removePortalGroup',
        ),
        fc.dictionary(
          fc.constantFrom(
            'nodeId',
            'incarnation',
            'group',
            'epoch',
            'name',
            'macs',
            'image',
            'holder',
            'sha256',
          ),
          fc.oneof(fc.anything(), fc.constantFrom('n1', 'pg1', 'win', '__proto__', 'constructor')),
        ),
        (type, fields) => {
          apply(state, { ...fields, type } as unknown as Command);
        },
      ),
      { numRuns: 300 },
    );
  });
});
