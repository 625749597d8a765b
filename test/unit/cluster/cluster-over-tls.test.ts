import { afterEach, expect, it } from 'vitest';
import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import { SeededRandom } from '../../../base/random.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { PeerMesh } from '../../../node/peer/peer-mesh.ts';
import { eventually, realTime } from '../../support/real-time.ts';
import { makeTestAuthority } from '../../support/test-certificates.ts';
import { TestCluster } from '../../support/test-cluster.ts';
import { genesisInput, sha } from './state/fixtures.ts';

const HOST = '127.0.0.1';
let cluster: TestCluster | undefined;

afterEach(async () => {
  await cluster?.stopAll();
});

it('three nodes over mutual TLS survive the loss of their leader and take it back', async () => {
  const authority = await makeTestAuthority();
  const meshes = new Map<string, PeerMesh>();
  const ports = new Map<string, number>();
  const input = genesisInput();
  const peers = (): { nodeId: string; host: string; port: number }[] =>
    [...ports].map(([nodeId, port]) => ({ nodeId, host: HOST, port }));
  cluster = new TestCluster(makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs: 1500 } }), {
    make: async (nodeId, incarnation) => {
      const mesh = new PeerMesh({
        self: { clusterId: input.clusterId, nodeId, incarnation },
        listen: { host: HOST, port: ports.get(nodeId) ?? 0 },
        peers: [],
        credentials: await authority.issue(nodeId, input.clusterId),
        clock: realTime,
        timers: realTime,
        random: new SeededRandom(1),
        logger: silentLogger,
        counters: new CounterSet(),
      });
      await mesh.start();
      meshes.set(nodeId, mesh);
      ports.set(nodeId, mesh.port);
      for (const m of meshes.values()) m.setPeers(peers());
      return mesh;
    },
    drop: async (nodeId) => {
      const mesh = meshes.get(nodeId);
      meshes.delete(nodeId);
      await mesh?.stop();
    },
  });
  const add = (name: string, holder: string): Parameters<TestCluster['propose']>[1] => ({
    type: 'addBootFile',
    name,
    sizeBytes: 1,
    sha256: sha('a'),
    holder,
  });
  await cluster.startAll();
  const leader = await cluster.agreedLeader();
  expect(await cluster.propose(cluster.follower(), add('one', 'n1'))).toMatchObject({ ok: true });

  await cluster.crash(leader);
  const next = await cluster.agreedLeader();
  expect(next).not.toBe(leader);
  expect(await cluster.propose(cluster.follower(), add('two', 'n1'))).toMatchObject({ ok: true });
  const view = cluster.get(next).node;
  await eventually('it is fenced', () => view.state().nodes[leader]?.status === 'fenced');

  const back = await cluster.start(leader);
  await back.node.registered;
  await cluster.converged();
  expect(Object.keys(back.node.state().bootFiles).sort()).toEqual(['one', 'two']);
  expect(back.node.state().nodes[leader]).toMatchObject({ status: 'up', incarnation: back.incarnation });
  expect(await cluster.propose(leader, add('three', leader))).toMatchObject({ ok: true });
  expect(Object.keys((await view.linearizableState()).bootFiles)).toContain('three');
  expect(view.status().peers.map((p) => p.linkUp)).toEqual([true, true]);
});
