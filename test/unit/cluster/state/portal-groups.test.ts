import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import type { ClusterState, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { waitingReason } from '../../../../cluster/state/waiting.ts';
import { addClient, applyAll, fence, register, runningCluster } from './fixtures.ts';

type Add = Extract<Command, { type: 'addPortalGroup' }>;
type Register = Extract<Command, { type: 'registerNode' }>;

const add = (given: Partial<Add> = {}): Command => ({
  type: 'addPortalGroup',
  group: 'pg9',
  address: '192.0.2.99',
  port: 3260,
  atMs: 7,
  by: 'admin',
  ...given,
});
const remove = (group: string): Command => ({ type: 'removePortalGroup', group, atMs: 8, by: 'admin' });
const identify = (n: number, incarnation = 'a', group = 'pg9'): Command => ({
  type: 'identifyDisk',
  nodeId: `n${n}`,
  incarnation,
  group,
  disk: `disk-${n}`,
});
const groupOf = (state: ClusterState): PortalGroupRecord => state.portalGroups['pg9'] as PortalGroupRecord;

function refusal(state: ClusterState, command: Command): string | undefined {
  const { state: after, result } = apply(state, command);
  if (!result.ok) expect(after).toBe(state);
  return result.ok ? undefined : result.error.code;
}

describe('addPortalGroup', () => {
  const before = runningCluster(4, 4);

  it('has copies on as many nodes as others have, is remembered, and waits for their directories', () => {
    const state = applyAll(before, add());
    const group = groupOf(state);
    expect(group).toMatchObject({ address: '192.0.2.99', port: 3260, epoch: 1, founding: true });
    expect(group.replicas).toHaveLength(3);
    expect(group.inSync.map((m) => m.nodeId)).toEqual(group.replicas);
    expect(group.primary).toBeUndefined();
    expect(waitingReason(state, group)).toContain('has been added');
    expect(state.audit.at(-1)).toMatchObject({ event: 'portal-group-added', atMs: 7 });
    const at = { group: 'pg9', epoch: 1 };
    expect(refusal(state, { type: 'moveGroup', ...at, to: group.replicas[0] as string })).toBe('being-made');
    expect(refusal(state, { type: 'dropReplica', ...at, drop: group.replicas[0] as string })).toBe(
      'being-made',
    );
    expect(state.audit.at(-1)?.detail).toMatch(/pg9 at 192.0.2.99:3260 on .*, by admin/);
  });

  it('is led by one of them once all have said where their copies are', () => {
    const given = applyAll(before, add({ replicas: ['n1', 'n3', 'n4'] }));
    const some = applyAll(given, identify(1), identify(4));
    expect(groupOf(some)).toMatchObject({ epoch: 3, founding: true });
    const all = applyAll(some, identify(3));
    expect(groupOf(all)).toMatchObject({
      epoch: 4,
      inSync: [
        { nodeId: 'n1', incarnation: 'a', disk: 'disk-1' },
        { nodeId: 'n3', incarnation: 'a', disk: 'disk-3' },
        { nodeId: 'n4', incarnation: 'a', disk: 'disk-4' },
      ],
    });
    expect(groupOf(all).founding).toBeUndefined();
    expect(['n1', 'n3', 'n4']).toContain(groupOf(all).primary);
    expect(waitingReason(all, groupOf(all))).toBeUndefined();
  });

  it('does without a node that is lost meanwhile, and takes one that has come back meanwhile', () => {
    const given = applyAll(before, add({ replicas: ['n1', 'n2', 'n3'] }), identify(1));
    const back: Command = { ...(register(2, 'b') as Register), disks: { pg9: 'disk-2b' } };
    const state = applyAll(given, back, fence(3, 'a'));
    expect(groupOf(state).inSync).toEqual([
      { nodeId: 'n1', incarnation: 'a', disk: 'disk-1' },
      { nodeId: 'n2', incarnation: 'b', disk: 'disk-2b' },
    ]);
    expect(groupOf(state).primary).toBeDefined();
    expect(groupOf(state).replicas).toContain('n3');
  });

  it('takes no portal that could not be one, nor an id that was used', () => {
    const state = applyAll(before, {
      ...addClient('pc-1', '52:54:00:00:00:01'),
      address: '192.0.2.15',
    } as Command);
    for (const [given, code] of [
      [{ group: 'pg1' }, 'id-used'],
      [{ group: 'Nope!' }, 'bad-name'],
      [{ address: '192.0.2.300' }, 'bad-address'],
      [{ address: '0.0.0.0' }, 'bad-address'],
      [{ port: 0 }, 'bad-port'],
      [{ port: 65_536 }, 'bad-port'],
      [{ address: '192.0.2.11', port: 3261 }, 'portal-taken'],
      [{ address: '198.51.100.2' }, 'portal-is-node'],
      [{ address: '127.0.0.9' }, 'portal-on-loopback'],
      [{ address: '192.0.2.15' }, 'address-taken'],
      [{ address: '192.0.2.10' }, 'address-in-range'],
      [{ address: '203.0.113.9' }, 'address-outside-subnet'],
      [{ replicas: [] }, 'bad-replicas'],
      [{ replicas: ['n1', 'n1'] }, 'bad-replicas'],
      [{ replicas: ['n1', 'n2', 'n3', 'n4'] }, 'bad-replicas'],
      [{ replicas: ['n7'] }, 'unknown-node'],
    ] as const) {
      expect(refusal(state, add(given)), JSON.stringify(given)).toBe(code);
    }
    expect(refusal(applyAll(before, fence(2, 'a')), add({ replicas: ['n2'] }))).toBe('not-up');
  });
});

describe('the address of a node that has left', () => {
  const leave: readonly Command[] = [
    fence(4, 'a'),
    { type: 'removeNode', nodeId: 'n4', atMs: 9, by: 'admin' },
  ];
  const address = '198.51.100.4';
  const outside = { settings: { ...runningCluster(4, 0).settings, dhcp: { mode: 'off', leaseSeconds: 60 } } };
  const cluster = (stateVersion: number): ClusterState =>
    ({ ...runningCluster(4, 4), ...outside, stateVersion }) as ClusterState;

  it('is no portal, but where an administrator knows that its host has it no more', () => {
    const left = applyAll(cluster(7), ...leave);
    expect(left.removedNodes['n4']?.addresses).toEqual([address]);
    const { result } = apply(left, add({ address }));
    expect(result).toMatchObject({
      ok: false,
      error: { code: 'portal-was-node', message: expect.stringContaining('node n4') as string },
    });
    expect(refusal(left, add({ address, ofFormerNode: true }))).toBeUndefined();
    expect(refusal(left, add({ address: '198.51.100.5' }))).toBeUndefined();
    // What the cluster has now is not to be had in any case.
    expect(refusal(left, add({ address: '198.51.100.1', ofFormerNode: true }))).toBe('portal-is-node');
  });

  it('is remembered with its ports, since it may have a vote still, once every member knows of that', () => {
    const before = cluster(10);
    const left = applyAll(before, ...leave);
    expect(left.removedNodes['n4']).toMatchObject({
      addresses: [address],
      endpoints: before.nodes['n4']?.endpoints,
    });
    expect(applyAll(cluster(9), ...leave).removedNodes['n4']).not.toHaveProperty('endpoints');
  });

  it('is not remembered while a member does not know of that', () => {
    const left = applyAll(cluster(6), ...leave);
    expect(left.removedNodes['n4']).toEqual({ nodeId: 'n4', raftId: 4, removedAtMs: 9 });
    expect(refusal(left, add({ address }))).toBeUndefined();
  });
});

describe('removePortalGroup', () => {
  it('takes an empty one only, never the last, and gives its id to no other', () => {
    const state = applyAll(runningCluster(3, 2), add());
    const full = applyAll(state, {
      ...addClient('pc-1', '52:54:00:00:00:01'),
      portalGroup: 'pg9',
    } as Command);
    expect(refusal(full, remove('pg9'))).toBe('not-empty');
    const removed = applyAll(full, { type: 'removeClient', name: 'pc-1' }, remove('pg9'));
    expect(Object.keys(removed.portalGroups)).toEqual(['pg1', 'pg2']);
    expect(removed.audit.at(-1)?.detail).toBe('pg9 at 192.0.2.99:3260, by admin');
    expect(refusal(removed, add())).toBe('id-used');
    expect(refusal(removed, remove('pg9'))).toBe('unknown-portal-group');
    const one = applyAll(removed, remove('pg1'));
    expect(refusal(one, remove('pg2'))).toBe('last-portal-group');
    // Its address is free again.
    expect(refusal(one, add({ group: 'pg10' }))).toBeUndefined();
  });
});
