import { describe, expect, it } from 'vitest';
import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import {
  canShareGroups,
  endpointsOfGroup,
  workerOfGroup,
  workersOfNode,
} from '../../../../cluster/state/data-plane-workers.ts';
import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import { MAX_DATA_PLANE_WORKERS } from '../../../../cluster/state/limits.ts';
import type { ClientRecord, NodeRecord } from '../../../../cluster/state/model.ts';
import { targetPaths } from '../../../../cluster/state/target-paths.ts';
import { STATE_VERSIONS } from '../../../../cluster/state/versions.ts';
import { applyAll, genesisInput, register } from './fixtures.ts';

const further = [{ replication: '10.0.0.1:7500', iscsi: '10.0.0.1:7501' }];
const withWorkers = (n: number, incarnation: string, workers: unknown = further): Command =>
  ({ ...register(n, incarnation), stateVersion: STATE_VERSIONS.newest, workers }) as Command;
const genesis = makeGenesis(genesisInput(3, 3));

describe('the worker of a portal group', () => {
  it('is dealt out in turn to groups that are numbered, and is one of those there are for any name', () => {
    expect([1, 2, 3, 4, 5].map((n) => workerOfGroup(`pg${n}`, 2))).toEqual([1, 0, 1, 0, 1]);
    expect(workerOfGroup('12', 5)).toBe(2);
    const names = ['a', 'lab', 'room-b', 'x1y', 'pg1234567890123', 'pg-7', '0'];
    for (const name of names) {
      expect(workerOfGroup(name, 1)).toBe(0);
      for (const workers of [2, 3, 7, MAX_DATA_PLANE_WORKERS]) {
        const worker = workerOfGroup(name, workers);
        expect(Number.isInteger(worker) && worker >= 0 && worker < workers).toBe(true);
        expect(workerOfGroup(name, workers)).toBe(worker);
      }
    }
  });

  it('has a link to every worker that may have the same group at another node, and to no other', () => {
    for (const a of [1, 2, 3, 4, 6, 8]) {
      for (const b of [1, 2, 3, 4, 6, 8]) {
        const meet = new Set<string>();
        for (let n = 0; n < 48; n++) meet.add(`${workerOfGroup(`pg${n}`, a)} ${workerOfGroup(`pg${n}`, b)}`);
        for (let i = 0; i < a; i++) {
          for (let j = 0; j < b; j++) {
            const linked = canShareGroups({ worker: i, workers: a }, { worker: j, workers: b });
            expect(linked, `${i} of ${a}, ${j} of ${b}`).toBe(meet.has(`${i} ${j}`));
          }
        }
      }
    }
  });

  it('is where the node that has registered says, and a later start without one is at its own endpoints', () => {
    const state = applyAll(genesis, withWorkers(1, 'a'));
    const node = state.nodes['n1'] as NodeRecord;
    expect(workersOfNode(node)).toHaveLength(2);
    expect(endpointsOfGroup(node, 'pg1')).toEqual(further[0]);
    const { replication, iscsi } = node.endpoints;
    expect(endpointsOfGroup(node, 'pg2')).toEqual({ replication, iscsi });
    const again = applyAll(state, register(1, 'b')).nodes['n1'] as NodeRecord;
    expect(again.workers).toBeUndefined();
    expect(endpointsOfGroup(again, 'pg1')).toEqual({ replication, iscsi });
  });

  it('shows where a client with several paths finds its disk on that node', () => {
    const state = applyAll(genesis, withWorkers(1, 'a'));
    const client = { portalGroup: 'pg1', multipath: true } as ClientRecord;
    const ports = targetPaths(state, client).flatMap(({ nodeId, port }) => (nodeId === 'n1' ? [port] : []));
    expect(ports).toEqual([7501]);
  });

  it('is said only where every member knows of workers', () => {
    expect(STATE_VERSIONS.neededBy(withWorkers(1, 'a'))).toBe(4);
    expect(STATE_VERSIONS.neededBy(register(1, 'a'))).toBe(1);
  });

  it.each([
    ['no list', 'two'],
    ['a worker without a portal', [{ replication: '10.0.0.1:1' }]],
    ['more than there may be', Array.from({ length: MAX_DATA_PLANE_WORKERS }, () => further[0])],
  ])('is refused when it is %s', (_, workers) => {
    const { state, result } = apply(genesis, withWorkers(1, 'a', workers));
    expect(state).toBe(genesis);
    expect(result).toMatchObject({ ok: false, error: { code: 'malformed-command' } });
  });
});
