import { describe, expect, test } from 'vitest';
import type { ClusterState, PortalGroupRecord } from '../../../../cluster/state/model.ts';
import { GroupPaths, targetPortGroups } from '../../../../node/portal/group-paths.ts';
import { accessState } from '../../../../node/scsi/access-state.ts';
import { FakeCluster } from '../../../support/fake-cluster.ts';

const NAMES = new Map<number, string>(Object.entries(accessState).map(([name, value]) => [value, name]));
const { activeOptimized, standby } = accessState;

/** The group as it is with these changes; n1 is its primary. */
function withGroup(changes: Partial<PortalGroupRecord>): ClusterState {
  const state = new FakeCluster().state();
  const group = { ...(state.portalGroups['pg1'] as PortalGroupRecord), primary: 'n1', ...changes };
  return { ...state, portalGroups: { pg1: group } };
}

const member = (nodeId: string) => ({ nodeId, incarnation: `${nodeId}-first` });
function statesAt(nodeId: string, state: ClusterState, isActive: boolean): string[] {
  const groups = targetPortGroups(state, state.portalGroups['pg1'] as PortalGroupRecord, {
    nodeId,
    isActive,
  });
  return groups.map((group) => `${group.tag} ${NAMES.get(group.state)}`);
}

describe('the access states of the paths', () => {
  test('are the same, whichever node is asked', () => {
    const state = withGroup({});
    const all = ['1 activeOptimized', '2 activeOptimized', '3 standby', '4 standby'];
    expect(statesAt('n1', state, true)).toEqual(all);
    for (const nodeId of ['n2', 'n3']) expect(statesAt(nodeId, state, false)).toEqual(all);
  });

  test.each([
    ['its primary does not serve yet', {}, ['1 transitioning', '2 transitioning', '3 standby', '4 standby']],
    [
      'a copy is not in sync',
      { inSync: [member('n1'), member('n3')] },
      ['1 transitioning', '2 transitioning', '3 unavailable', '4 standby'],
    ],
    [
      'there is none who could lead',
      { primary: undefined },
      ['1 unavailable', '2 standby', '3 standby', '4 standby'],
    ],
    ['it has two copies', { replicas: ['n1', 'n3'] }, ['1 transitioning', '2 transitioning', '4 standby']],
  ])('where %s', (_name, changes, expected) => {
    expect(statesAt('n1', withGroup(changes as Partial<PortalGroupRecord>), false)).toEqual(expected);
  });

  test('are not those of a node that is fenced', () => {
    const state = withGroup({});
    const n3 = { ...state.nodes['n3'], status: 'fenced' } as ClusterState['nodes'][string];
    expect(statesAt('n1', { ...state, nodes: { ...state.nodes, n3 } }, true).at(-1)).toBe('4 unavailable');
  });

  test('follow the configuration and this node, and every change is told once', () => {
    let isActive = false;
    const told: string[] = [];
    const paths = new GroupPaths({
      nodeId: 'n2',
      isActive: () => isActive,
      onChange: (groupId) => told.push(groupId),
    });
    const own = paths.by('pg1', 3);
    expect(own.ownState(), 'nothing is known yet').toBe(accessState.unavailable);
    paths.applyState(withGroup({}));
    paths.applyState(withGroup({ epoch: 9 }));
    expect([own.ownState(), told]).toEqual([standby, []]);
    paths.applyState(withGroup({ primary: 'n2', inSync: [member('n2'), member('n3')] }));
    expect([own.ownState(), told.length]).toEqual([accessState.transitioning, 1]);
    isActive = true;
    paths.refresh('pg1');
    paths.refresh('pg1');
    expect([own.ownState(), told.length]).toEqual([activeOptimized, 2]);
    expect(own.groups().map(({ state }) => state)).toEqual([
      activeOptimized,
      accessState.unavailable,
      activeOptimized,
      standby,
    ]);
  });
});
