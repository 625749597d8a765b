import { afterEach, describe, expect, it } from 'vitest';
import { AppliedStore } from '../../../cluster/applied-store.ts';
import { Recovery } from '../../../cluster/recovery.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { recoverState } from '../../../cluster/state/recovery.ts';
import { MemoryRecordLog } from '../../support/memory-record-log.ts';
import { eventually } from '../../support/real-time.ts';
import { TestCluster } from '../../support/test-cluster.ts';
import { applyAll, fence, genesisInput, runningCluster } from './state/fixtures.ts';

const addVersion = (content: number): Command => ({
  type: 'addImageVersion',
  image: 'win',
  sizeBytes: 4096,
  chunkSizeBytes: 4096,
  manifestSha256: content.toString(16).padStart(64, '0'),
  holder: 'n1',
  atMs: content,
});

describe('the configuration that is left', () => {
  it('has no lost node, higher epochs, and the members of each group that were in sync', () => {
    const before = runningCluster(3, 3);
    const { state, lostNodes, staleGroups, lostGroups } = recoverState(before, {
      self: 'n1',
      nodes: ['n1'],
      atMs: 7,
    });
    expect(lostNodes).toEqual(['n2', 'n3']);
    expect([...staleGroups, ...lostGroups]).toEqual([]);
    expect(Object.keys(state.nodes)).toEqual(['n1']);
    expect(Object.keys(state.removedNodes)).toEqual(['n2', 'n3']);
    expect(state.nextRaftId).toBe(before.nextRaftId);
    for (const group of Object.values(state.portalGroups)) {
      expect(group).toMatchObject({ replicas: ['n1'], inSync: [{ nodeId: 'n1' }], primary: 'n1' });
      expect(group.epoch).toBeGreaterThan((before.portalGroups[group.id]?.epoch ?? 0) + 100);
    }
    expect(state.images['win']?.versions[0]?.holders).toEqual(['n1']);
    expect(state.audit.at(-1)).toMatchObject({ atMs: 7, event: 'cluster-recovered' });
  });

  it('says which groups have only a copy that was behind, or none', () => {
    const behind = applyAll(runningCluster(3, 1), fence(1, 'a'));
    expect(recoverState(behind, { self: 'n1', nodes: ['n1'], atMs: 7 })).toMatchObject({
      staleGroups: ['pg1'],
      lostGroups: [],
    });
    const elsewhere = runningCluster(4, 4);
    const lost = recoverState(elsewhere, { self: 'n1', nodes: ['n1'], atMs: 7 });
    const without = Object.values(elsewhere.portalGroups).filter((g) => !g.replicas.includes('n1'));
    expect(lost.lostGroups).toEqual(without.map((g) => g.id));
    expect(lost.lostGroups.length).toBeGreaterThan(0);
  });
});

describe('what is left of a log', () => {
  it('refuses a node that had not become a member yet', async () => {
    const genesis = makeGenesis(genesisInput(3, 2));
    const appliedStore = { load: async () => undefined } as unknown as AppliedStore;
    const recovery = await Recovery.read({ records: new MemoryRecordLog(), appliedStore, genesis });
    expect(() => recovery.plan({ self: 'n9', nodes: ['n9'], atMs: 7 })).toThrow(
      expect.objectContaining({ code: 'not-a-member', got: 'n9' }) as Error,
    );
  });
});

describe('recovery', () => {
  let cluster: TestCluster;

  afterEach(async () => {
    await cluster.stopAll();
  });

  /** On the disk of a node that has crashed. */
  async function recover(self: string, keep: readonly string[] = []): Promise<void> {
    const disk = cluster.disks.get(self);
    const path = cluster.storePath(self);
    if (disk === undefined) throw new Error('no disk');
    const records = new MemoryRecordLog(disk);
    const owner = { clusterId: cluster.genesis.clusterId, nodeId: self };
    const appliedStore = await AppliedStore.open(path, owner);
    const recovery = await Recovery.read({ records, appliedStore, genesis: cluster.genesis });
    await recovery.write(recovery.plan({ self, nodes: [self, ...keep], atMs: 7 }), self);
    await records.close();
    await appliedStore.close();
  }

  it('makes a cluster of one of the last of three, which then grows again', { timeout: 40_000 }, async () => {
    const input = genesisInput(3, 2);
    cluster = new TestCluster(
      makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs: 60_000 } }),
    );
    await cluster.startAll();
    const leader = await cluster.agreedLeader();
    for (let i = 1; i <= 5; i++) await cluster.propose(leader, addVersion(i));
    await cluster.converged();
    for (const id of ['n1', 'n2', 'n3']) await cluster.crash(id, 100);
    await recover('n1');
    await cluster.start('n1');
    await cluster.get('n1').node.registered;
    const state = cluster.get('n1').node.state();
    expect(state.images['win']?.versions).toHaveLength(5);
    expect(Object.keys(state.nodes)).toEqual(['n1']);
    expect(state.audit.at(-1)?.event).toBe('cluster-recovered');
    // Once more, now that the snapshot has been applied.
    await cluster.crash('n1');
    await cluster.start('n1');
    expect(await cluster.propose('n1', addVersion(6))).toMatchObject({ ok: true });
    await (await cluster.join('n4')).node.registered;
    await cluster.converged();
    // A lost node that is started all the same gets nowhere.
    await cluster.start('n2');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(cluster.get('n2').node.status().role).not.toBe('leader');
    expect(await cluster.propose('n4', addVersion(7))).toMatchObject({ ok: true });
  });

  it('takes other survivors back, whatever they have', { timeout: 40_000 }, async () => {
    const input = genesisInput(5, 2);
    cluster = new TestCluster(
      makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs: 60_000 } }),
    );
    await cluster.startAll();
    const leader = await cluster.agreedLeader();
    for (let i = 1; i <= 5; i++) await cluster.propose(leader, addVersion(i));
    await cluster.converged();
    for (const id of cluster.ids) await cluster.crash(id, 100);
    await recover('n1', ['n2']);
    await cluster.start('n1');
    await cluster.start('n2');
    await Promise.all(['n1', 'n2'].map((id) => cluster.get(id).node.registered));
    await eventually(
      'both vote',
      () =>
        cluster
          .get('n1')
          .node.status()
          .members.filter((m) => m.role === 'voter').length === 2,
      20_000,
    );
    expect(await cluster.propose('n2', addVersion(6))).toMatchObject({ ok: true });
    await cluster.converged();
    expect(cluster.get('n2').node.state().images['win']?.versions).toHaveLength(6);
  });
});
