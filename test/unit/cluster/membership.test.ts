import { afterEach, describe, expect, it } from 'vitest';
import { membersTold } from '../../../cluster/membership.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { eventually } from '../../support/real-time.ts';
import { TestCluster, testEndpoints } from '../../support/test-cluster.ts';
import { genesisInput } from './state/fixtures.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

/** Without portal groups: who may be removed is then a matter of the cluster log alone. */
function make(nodeCount: number, groupCount = 0): TestCluster {
  const input = genesisInput(nodeCount, groupCount);
  cluster = new TestCluster(makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs: 60_000 } }));
  return cluster;
}

const addVersion = (content: number, holder = 'n1'): Command => ({
  type: 'addImageVersion',
  image: 'win',
  sizeBytes: 4096,
  chunkSizeBytes: 4096,
  manifestSha256: content.toString(16).padStart(64, '0'),
  holder,
  atMs: content,
});

/** Waits until Raft's voters are these, as the leader sees it, and nobody else is a member. */
async function voters(...ids: readonly string[]): Promise<void> {
  await eventually(
    `the voters are ${ids.join(', ')}`,
    () => {
      const leader = [...cluster.nodes.values()].find((n) => n.node.status().role === 'leader');
      const members = leader?.node.status().members ?? [];
      return (
        members.length === ids.length && members.every((m) => m.role === 'voter' && ids.includes(m.nodeId))
      );
    },
    20_000,
  );
}

interface Writer {
  /** What is written from now on is held by this node. */
  holder: string;
  /** Whether a write that was begun with that holder is still under way. */
  isUsing(holder: string): boolean;
  count(): number;
  stop(): Promise<void>;
}

/** Writes without a pause through whichever nodes run; what was acknowledged must be there in the end. */
function writing(): Writer {
  let next = 0;
  /** Of the write under way of each. */
  const holders = ['', ''];
  const acknowledged = new Set<number>();
  const writer = {
    ...{ holder: 'n1', going: true, stop },
    isUsing: (holder: string) => holders.includes(holder),
    count: () => acknowledged.size,
  };
  const run = async (self: number): Promise<void> => {
    while (writer.going) {
      const content = ++next;
      holders[self] = writer.holder;
      const ids = [...cluster.nodes.keys()];
      const id = ids[content % ids.length] as string;
      const outcome = await cluster.nodes
        .get(id)
        ?.node.propose(addVersion(content, holders[self] ?? ''))
        .catch(() => undefined);
      if (outcome?.ok === true) acknowledged.add(content);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const done = Promise.all([run(0), run(1)]);
  async function stop(): Promise<void> {
    writer.going = false;
    await done;
    const ids = [...cluster.nodes.keys()];
    const state = await cluster.get(ids[0] as string).node.linearizableState();
    const kept = new Set(state.images['win']?.versions.map((v) => v.createdAtMs));
    expect([...acknowledged].filter((n) => !kept.has(n))).toEqual([]);
  }
  return writer;
}

/** As content that was fetched from a node which is then to be removed. */
async function heldBy(holder: string): Promise<void> {
  const versions = cluster.get(holder).node.state().images['win']?.versions ?? [];
  for (const { version, holders } of versions) {
    if (holders.includes(holder)) continue;
    await cluster.propose(holder, { type: 'imageHeld', image: 'win', version, holder });
  }
}

async function end(nodeId: string): Promise<void> {
  await eventually(`${nodeId} learns that it was removed`, () => cluster.get(nodeId).removed, 20_000);
  await cluster.crash(nodeId);
}

describe('members of the cluster log', () => {
  it('grow from one to three to five and shrink to three while clients write', {
    timeout: 60_000,
  }, async () => {
    await make(1).startAll();
    const writer = writing();
    for (const id of ['n2', 'n3']) await (await cluster.join(id)).node.registered;
    await voters('n1', 'n2', 'n3');
    await Promise.all([cluster.join('n4'), cluster.join('n5')]);
    await voters('n1', 'n2', 'n3', 'n4', 'n5');
    writer.holder = 'n3';
    await eventually('nothing more is held by n1 alone', () => !writer.isUsing('n1'));
    await cluster.get('n3').node.linearizableState();
    await heldBy('n3');
    for (const id of ['n1', 'n4']) {
      await cluster.remove(id);
      await end(id);
    }
    await voters('n2', 'n3', 'n5');
    await eventually('many writes have been acknowledged', () => writer.count() > 50);
    await writer.stop();
    await cluster.converged();
    const state = cluster.get('n5').node.state();
    expect(Object.keys(state.nodes).sort()).toEqual(['n2', 'n3', 'n5']);
    expect(Object.keys(state.removedNodes).sort()).toEqual(['n1', 'n4']);
  });

  it('lose their leader by its removal, which hands on first', { timeout: 30_000 }, async () => {
    await make(3).startAll();
    const leader = await cluster.agreedLeader();
    const { term } = cluster.get(leader).node.status();
    await cluster.remove(leader);
    const others = cluster.ids.filter((id) => id !== leader);
    await voters(...others);
    expect(cluster.get(others[0] as string).node.status().term).toBeGreaterThan(term);
    await end(leader);
    const next = await cluster.agreedLeader();
    expect(await cluster.propose(next, addVersion(1, next))).toMatchObject({ ok: true });
  });

  it('are voted for by a node that was removed, until the others can do without it', {
    timeout: 30_000,
  }, async () => {
    await make(1).startAll();
    for (const id of ['n2', 'n3']) await (await cluster.join(id)).node.registered;
    await voters('n1', 'n2', 'n3');
    await cluster.crash('n2');
    await cluster.agreedLeader();
    await cluster.remove('n3');
    // Both start again: n1 was never told where n3 is but by the log, and n3 finds itself removed.
    for (const id of ['n1', 'n3']) await cluster.crash(id);
    for (const id of ['n1', 'n3']) await cluster.start(id);
    await eventually('n1 knows of the removal', () => 'n3' in cluster.get('n1').node.state().removedNodes);
    await expect(cluster.get('n3').node.registered).rejects.toMatchObject({ code: 'node-removed' });
    for (let i = 1; i <= 20; i++) {
      expect(await cluster.propose('n1', addVersion(i))).toMatchObject({ ok: true });
    }
    const { node } = cluster.get('n1');
    expect(node.hasLeft('n3')).toBe(false);
    expect(node.peers()).toContainEqual({ nodeId: 'n3', raftId: 3, endpoints: testEndpoints('n3') });
    expect(membersTold(node.state(), (id) => node.hasLeft(id))).toMatchObject({ leftIds: [] });
    expect(cluster.get('n3').removed).toBe(false);
    await cluster.start('n2');
    await end('n3');
    await voters('n1', 'n2');
    expect(node.hasLeft('n3')).toBe(true);
    expect(node.peers().map(({ nodeId }) => nodeId)).toEqual(['n2']);
    expect(membersTold(node.state(), (id) => node.hasLeft(id))).toMatchObject({ leftIds: ['n3'] });
    expect(await cluster.propose('n2', addVersion(21))).toMatchObject({ ok: true });
  });

  it('are not disturbed by a node that was removed while it was away', { timeout: 30_000 }, async () => {
    await make(4).startAll();
    await cluster.agreedLeader();
    const victim = cluster.follower();
    cluster.mesh.isolate(victim);
    await cluster.remove(victim);
    const others = cluster.ids.filter((id) => id !== victim);
    await voters(...others);
    const before = cluster.get(victim).node.status().term;
    // By now it asks for votes, and will do so for ever, since it does not know.
    await eventually('it campaigns', () => cluster.get(victim).node.status().role === 'pre-candidate');
    cluster.mesh.isolate(victim, false);
    for (let i = 1; i <= 40; i++) {
      expect(await cluster.propose(others[i % 3] as string, addVersion(i, others[0]))).toMatchObject({
        ok: true,
      });
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    const dropped = others.map((id) => cluster.get(id).counters.get('cluster.from-removed'));
    expect(Math.max(...dropped)).toBeGreaterThan(0);
    // It has driven nobody into a new term, nor got into one itself.
    expect(cluster.get(victim).node.status()).toMatchObject({ role: 'pre-candidate', term: before });
  });

  it('are remembered across crashes and compaction of the log', { timeout: 60_000 }, async () => {
    await make(1).startAll();
    await (await cluster.join('n2')).node.registered;
    await (await cluster.join('n3')).node.registered;
    await voters('n1', 'n2', 'n3');
    const text = 'x'.repeat(900);
    for (let at = 0; at < 9000; at += 500) {
      const fillers = Array.from({ length: 500 }, (_, i) => `${at + i}-${text}`);
      await Promise.all(fillers.map((name) => cluster.propose('n1', { type: 'removeClient', name })));
    }
    await eventually('all logs are compacted', () =>
      [...cluster.nodes.values()].every((n) => n.counters.get('cluster.log.compacted') > 0),
    );
    for (const id of ['n1', 'n2', 'n3']) await cluster.crash(id);
    for (const id of ['n1', 'n2', 'n3']) await cluster.start(id);
    await cluster.agreedLeader();
    await voters('n1', 'n2', 'n3');
    // One that comes now needs a snapshot, which tells it of the members.
    await (await cluster.join('n4')).node.registered;
    await voters('n1', 'n2', 'n3', 'n4');
    // With two of four gone nobody could decide, had n4 not been counted in.
    await cluster.crash('n1');
    await cluster.crash('n4');
    const lost = await cluster
      .get('n2')
      .node.propose(addVersion(1))
      .catch(() => undefined);
    expect(lost).toBeUndefined();
    await cluster.start('n4');
    expect(await cluster.propose('n4', addVersion(2))).toMatchObject({ ok: true });
  });

  it('wait for a newcomer to have the log before they count on it', { timeout: 30_000 }, async () => {
    await make(1).startAll();
    await cluster.agreedLeader();
    await cluster.join('n2');
    await cluster.crash('n2');
    // It never comes back, and n1 goes on alone as if it had not been there.
    await eventually('it is a learner', () =>
      cluster
        .get('n1')
        .node.status()
        .members.some((m) => m.nodeId === 'n2' && m.role === 'learner'),
    );
    for (let i = 1; i <= 20; i++)
      expect(await cluster.propose('n1', addVersion(i))).toMatchObject({ ok: true });
    await cluster.start('n2');
    await voters('n1', 'n2');
  });
});
