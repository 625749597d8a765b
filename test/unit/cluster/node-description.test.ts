import { afterEach, expect, it } from 'vitest';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { STATE_VERSIONS, type StateVersions } from '../../../cluster/state/versions.ts';
import { eventually } from '../../support/real-time.ts';
import { TestCluster } from '../../support/test-cluster.ts';
import { genesisInput } from './state/fixtures.ts';

const OLD: StateVersions = { newest: 1, neededBy: () => 1 };

let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

it('tells the cluster what a node says of its place, once every member knows what that is', async () => {
  const input = genesisInput(3, 3);
  cluster = new TestCluster(makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs: 60_000 } }));
  cluster.placements.set('n2', { weight: 3, rack: 'a' });
  cluster.versions.set('n3', OLD);
  await cluster.startAll();
  await cluster.converged();
  expect(cluster.get('n1').node.state().nodes['n2']?.described).toBeUndefined();

  await cluster.crash('n3');
  await cluster.agreedLeader();
  cluster.versions.set('n3', STATE_VERSIONS);
  await cluster.start('n3');
  const known = () => cluster.get('n1').node.state().nodes['n2']?.described;
  await eventually('it is known', () => known() !== undefined);
  expect(known()).toEqual({ weight: 3, rack: 'a' });

  // What it does not say any more is forgotten.
  await cluster.crash('n2');
  await cluster.agreedLeader();
  cluster.placements.delete('n2');
  await cluster.start('n2');
  await eventually('it is forgotten', () => known() === undefined);
});
