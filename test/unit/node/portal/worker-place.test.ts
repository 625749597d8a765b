import { describe, expect, it } from 'vitest';
import type { ClusterState } from '../../../../cluster/state/model.ts';
import { linkTo, WorkerPlace } from '../../../../node/portal/worker-place.ts';

const at = (host: string, n: number): { replication: string; iscsi: string } => ({
  replication: `${host}:${7500 + 2 * n}`,
  iscsi: `${host}:${7501 + 2 * n}`,
});
const endpoints = (host: string): Record<string, string> => ({
  replication: `${host}:7401`,
  iscsi: `${host}:3260`,
});
const state = {
  nodes: {
    n1: { nodeId: 'n1', endpoints: endpoints('192.0.2.1'), workers: [at('192.0.2.1', 0)] },
    n2: { nodeId: 'n2', endpoints: endpoints('192.0.2.2') },
    n3: {
      nodeId: 'n3',
      endpoints: endpoints('192.0.2.3'),
      workers: [0, 1, 2].map((n) => at('192.0.2.3', n)),
    },
  },
} as unknown as ClusterState;
const workers = [{ replication: '192.0.2.1:7401', iscsi: '192.0.2.1:3260' }, at('192.0.2.1', 0)];
const second = new WorkerPlace({ worker: 1, workers });

describe('a worker among those of all nodes', () => {
  it('has the groups that are its own, and knows which portal of its node others are at', () => {
    expect([second.hasGroup('pg1'), second.hasGroup('pg2')]).toEqual([true, false]);
    expect(second.elsewhere('pg1')).toBeUndefined();
    expect(second.elsewhere('pg2')).toEqual({ address: '192.0.2.1', port: 3260 });
    const alone = new WorkerPlace({ worker: 0, workers: workers.slice(0, 1) });
    expect(['pg1', 'pg2', 'x'].map((id) => alone.elsewhere(id))).toEqual([undefined, undefined, undefined]);
  });

  it('shares copies where one of its own groups is also elsewhere', () => {
    const group = (id: string, ...replicas: string[]) => ({ [id]: { id, replicas } });
    const shares = (...groups: Record<string, unknown>[]): boolean =>
      second.sharesCopies({ portalGroups: Object.assign({}, ...groups) }, 'n1');
    expect(shares()).toBe(false);
    expect(shares(group('pg1', 'n1'))).toBe(false);
    expect(shares(group('pg1', 'n1'), group('pg3', 'n2', 'n1'))).toBe(true);
    // Of the other worker, and of other nodes alone.
    expect(shares(group('pg2', 'n1', 'n2'), group('pg5', 'n2', 'n3'))).toBe(false);
  });

  it('has links to the workers of other nodes that may share its groups', () => {
    const peers = second.peers(state).map(({ nodeId, worker, port }) => `${nodeId}/${worker} ${port}`);
    expect(peers).toEqual(['n1/1 7500', 'n2/0 7401', 'n3/1 7500', 'n3/3 7504']);
  });

  it('is found by the link to the worker that has the group', () => {
    const links = ['n1', 'n2', 'n3', 'n9'].map((nodeId) => linkTo(state, 'pg3', nodeId));
    expect(links).toEqual(['n1/1', 'n2', 'n3/3', 'n9']);
    expect(linkTo(undefined, 'pg3', 'n1')).toBe('n1');
  });
});
