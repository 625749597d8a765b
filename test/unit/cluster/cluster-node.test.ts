import { afterEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../base/errors.ts';
import { decodePeerMessage } from '../../../cluster/peer-message.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { eventually } from '../../support/real-time.ts';
import { TestCluster } from '../../support/test-cluster.ts';
import { genesisInput, sha } from './state/fixtures.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

function make(fenceAfterMs = 60_000, nodeCount = 3): TestCluster {
  const input = genesisInput(nodeCount, 4);
  cluster = new TestCluster(makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs } }));
  return cluster;
}

/** Adds version after version to image "win", so the order of what was applied can be seen. */
const addVersion = (content: number, holder = 'n1'): Command => ({
  type: 'addImageVersion',
  image: 'win',
  sizeBytes: 4096,
  chunkSizeBytes: 4096,
  manifestSha256: content.toString(16).padStart(64, '0'),
  holder,
  atMs: content,
});

const addFile = (name: string): Command => ({
  type: 'addBootFile',
  name,
  sizeBytes: 1,
  sha256: sha('a'),
  holder: 'n1',
});

function isTimeoutNow(bytes: Uint8Array): boolean {
  const message = decodePeerMessage(bytes);
  return message.kind === 'raft' && message.message.type === 'MsgTimeoutNow';
}

async function errorOf(promise: Promise<unknown>): Promise<OperationError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof OperationError) return error;
    throw error;
  }
  throw new Error('did not fail');
}

describe('three nodes', () => {
  it('elect a leader, register themselves and apply what any of them proposes', async () => {
    await make().startAll();
    await cluster.agreedLeader();
    for (const [i, id] of cluster.ids.entries()) {
      expect(await cluster.get(id).node.propose(addVersion(i + 1))).toEqual({
        ok: true,
        value: { image: 'win', version: i + 1 },
      });
    }
    const refused = await cluster.get('n2').node.propose({ type: 'removeClient', name: 'none' });
    expect(refused).toMatchObject({ ok: false, error: { code: 'unknown-client' } });
    await cluster.converged();
    const state = cluster.get('n3').node.state();
    expect(state.images['win']?.versions.map((v) => v.version)).toEqual([1, 2, 3]);
    for (const id of cluster.ids) {
      expect(state.nodes[id]).toMatchObject({ status: 'up', incarnation: cluster.get(id).incarnation });
    }
    // Primaries stay as dealt out, since nobody was lost.
    expect(Object.values(state.portalGroups).map((g) => g.primary)).toEqual(['n1', 'n2', 'n3', 'n1']);
  });

  it('tell their subscribers of every change, in order', async () => {
    await make().startAll();
    await cluster.converged();
    const seen: number[] = [];
    const unsubscribe = cluster
      .get('n2')
      .node.subscribe((state) => seen.push(state.images['win']?.versions.length ?? 0));
    await Promise.all(Array.from({ length: 20 }, (_, i) => cluster.propose('n1', addVersion(i + 1))));
    await cluster.converged();
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    unsubscribe();
    await cluster.propose('n1', addVersion(21));
    await cluster.converged();
    expect(seen).toHaveLength(20);
  });

  it('read what was acknowledged before, from any node', async () => {
    await make().startAll();
    for (let i = 1; i <= 10; i++) {
      const [writer, reader] = [cluster.ids[i % 3] ?? '', cluster.ids[(i + 1) % 3] ?? ''];
      await cluster.propose(writer, addVersion(i));
      const state = await cluster.get(reader).node.linearizableState();
      expect(state.images['win']?.versions.length).toBeGreaterThanOrEqual(i);
    }
  });

  it('go on under a new leader, and take the old one back with all it missed', async () => {
    await make().startAll();
    const leader = await cluster.agreedLeader();
    await cluster.propose(leader, addVersion(1));
    await cluster.crash(leader);
    const next = await cluster.agreedLeader();
    expect(next).not.toBe(leader);
    expect(await cluster.propose(cluster.follower(), addVersion(2))).toMatchObject({ ok: true });
    await cluster.start(leader);
    await cluster.get(leader).node.registered;
    await cluster.converged();
    const state = cluster.get(leader).node.state();
    expect(state.images['win']?.versions).toHaveLength(2);
    expect(state.nodes[leader]?.incarnation).toBe(cluster.get(leader).incarnation);
    // Its earlier incarnation's memberships have ended.
    for (const g of Object.values(state.portalGroups)) {
      expect(g.inSync.map((m) => m.nodeId)).not.toContain(leader);
      expect(g.primary).not.toBe(leader);
    }
  });

  it('let one go that says so: its groups move on, another leads, and it is still there to help', async () => {
    await make().startAll();
    await cluster.converged();
    const leader = await cluster.agreedLeader();
    const { node } = cluster.get(leader);
    await node.leave();
    expect(node.status().role).not.toBe('leader');
    const state = node.state();
    expect(state.nodes[leader]?.status).toBe('fenced');
    for (const group of Object.values(state.portalGroups)) {
      expect(group.primary).not.toBe(leader);
      expect(group.inSync.map((m) => m.nodeId)).not.toContain(leader);
      expect(group.inSync).toHaveLength(2);
    }
    expect(cluster.get(leader).fenced).toBe(false);
    expect(await cluster.propose(leader, addVersion(1))).toMatchObject({ ok: true });
    await cluster.crash(leader);
    await cluster.start(leader);
    await cluster.get(leader).node.registered;
    expect(cluster.get(leader).node.state().nodes[leader]?.status).toBe('up');
  });

  it('lose nothing acknowledged when all of them crash at once, again and again', async () => {
    await make().startAll();
    const acknowledged: number[] = [];
    let content = 0;
    for (let round = 0; round < 3; round++) {
      const stopWriting = performance.now() + 250;
      const areEnough = (): boolean => acknowledged.length > round * 10;
      const writers = cluster.ids.map(async (id) => {
        while ((performance.now() < stopWriting || !areEnough()) && cluster.nodes.has(id)) {
          content += 1;
          const mine = content;
          const outcome = await cluster
            .get(id)
            .node.propose(addVersion(mine))
            .catch(() => undefined);
          if (outcome?.ok === true) acknowledged.push(mine);
        }
      });
      await eventually('something is acknowledged', areEnough);
      // In the middle of it.
      for (const [i, id] of cluster.ids.entries()) await cluster.crash(id, i);
      await Promise.allSettled(writers);
      await cluster.startAll();
      await cluster.converged();
      const versions = cluster.get('n1').node.state().images['win']?.versions ?? [];
      const kept = new Set(versions.map((v) => v.createdAtMs));
      expect(acknowledged.filter((n) => !kept.has(n))).toEqual([]);
    }
    expect(acknowledged.length).toBeGreaterThan(20);
  });

  it('refuse at once without a leader, and never tell a lie about the outcome', async () => {
    await make().startAll();
    const leader = await cluster.agreedLeader();
    cluster.mesh.isolate(leader);
    // The isolated leader can take it, but not commit it: it is told when the next leader has.
    const lost = errorOf(cluster.get(leader).node.propose(addFile('lost')));
    const others = cluster.ids.filter((id) => id !== leader);
    await eventually('the others elect', () =>
      others.some((id) => cluster.get(id).node.status().role === 'leader'),
    );
    expect(await cluster.propose(others[0] ?? '', addFile('kept'))).toMatchObject({ ok: true });
    await eventually('it steps down', () => cluster.get(leader).node.status().role !== 'leader');
    const noLeader = await errorOf(cluster.get(leader).node.propose(addFile('nobody')));
    expect(noLeader).toMatchObject({
      kind: 'unavailable',
      code: 'no-leader',
      accepted: expect.stringContaining('half'),
    });
    cluster.mesh.isolate(leader, false);
    expect(await lost).toMatchObject({ kind: 'unavailable', code: 'leader-lost' });
    await cluster.converged();
    expect(Object.keys(cluster.get(leader).node.state().bootFiles)).toEqual(['kept']);
  });

  it('take leadership from a node whose disk stands still, with or without its help', async () => {
    await make().startAll();
    for (const helps of [true, false]) {
      const stalled = await cluster.agreedLeader();
      const disk = cluster.disks.get(stalled);
      if (disk === undefined) throw new Error('no disk');
      cluster.mesh.filter = (_from, _to, bytes) => helps || !isTimeoutNow(bytes);
      let release = (): void => {};
      disk.held = new Promise((resolve) => {
        release = resolve;
      });
      const others = cluster.ids.filter((id) => id !== stalled);
      // Something that keeps its disk busy; the others make a majority and can commit it.
      void cluster
        .get(stalled)
        .node.propose(addFile(`while-stalled-${helps}`))
        .catch(() => {});
      await eventually('another leads', () =>
        others.some((id) => cluster.get(id).node.status().role === 'leader'),
      );
      expect(cluster.get(stalled).node.status().role).not.toBe('leader');
      expect(await cluster.propose(others[0] ?? '', addFile(`meanwhile-${helps}`))).toMatchObject({
        ok: true,
      });
      release();
      disk.held = Promise.resolve();
      await cluster.converged();
    }
    expect(Object.keys(cluster.get('n1').node.state().bootFiles)).toEqual(
      expect.arrayContaining(['meanwhile-true', 'meanwhile-false']),
    );
  });

  it('report an outcome that cannot be known as unknown', async () => {
    await make().startAll();
    await cluster.agreedLeader();
    const follower = cluster.follower();
    // Everything gets through but what would tell the follower how it went.
    let cut = false;
    cluster.mesh.filter = (from, to, message) => !(cut && to === follower && message[0] === 1 && from !== to);
    cut = true;
    const error = await errorOf(cluster.get(follower).node.propose(addFile('somewhere')));
    cluster.mesh.filter = () => true;
    expect(error).toMatchObject({ kind: 'unknown-outcome' });
    await cluster.converged();
    expect(Object.keys(cluster.get(follower).node.state().bootFiles)).toEqual(['somewhere']);
  });
});

describe('fencing', () => {
  it('moves the groups of a dead node to both survivors, and lets it back as another incarnation', async () => {
    await make(700).startAll();
    const leader = await cluster.agreedLeader();
    const victim = cluster.follower();
    await cluster.crash(victim);
    await eventually(
      'it is fenced',
      () => cluster.get(leader).node.state().nodes[victim]?.status === 'fenced',
    );
    const groups = Object.values(cluster.get(leader).node.state().portalGroups);
    for (const g of groups) expect(g.inSync.map((m) => m.nodeId)).not.toContain(victim);
    expect(new Set(groups.map((g) => g.primary)).size).toBe(2);
    await cluster.start(victim);
    await cluster.get(victim).node.registered;
    expect(cluster.get(victim).node.state().nodes[victim]?.status).toBe('up');
    expect(cluster.get(victim).fenced).toBe(false);
  });

  it('is noticed by a node that was only cut off', async () => {
    await make(700).startAll();
    await cluster.agreedLeader();
    const victim = cluster.follower();
    cluster.mesh.isolate(victim);
    const other = cluster.ids.find((id) => id !== victim) ?? '';
    await eventually(
      'it is fenced',
      () => cluster.get(other).node.state().nodes[victim]?.status === 'fenced',
    );
    expect(cluster.get(victim).fenced).toBe(false);
    cluster.mesh.isolate(victim, false);
    await eventually('it learns of it', () => cluster.get(victim).fenced);
  });

  it('follows the leader too', async () => {
    await make(700).startAll();
    const leader = await cluster.agreedLeader();
    await cluster.crash(leader);
    const other = cluster.ids.find((id) => id !== leader) ?? '';
    await eventually(
      'it is fenced',
      () => cluster.get(other).node.state().nodes[leader]?.status === 'fenced',
    );
  });
});

describe('a node that fell behind', () => {
  it('is given a snapshot once the log is compacted, and survives a crash after it', async () => {
    await make().startAll();
    await cluster.agreedLeader();
    const behind = cluster.follower();
    await cluster.crash(behind);
    const writer = await cluster.agreedLeader();
    // More than fits in a log, by size.
    const text = 'x'.repeat(900);
    const filler = Array.from(
      { length: 9000 },
      (_, i): Command => ({
        type: 'removeClient',
        name: `${i}-${text}`,
      }),
    );
    for (let at = 0; at < filler.length; at += 500) {
      await Promise.all(filler.slice(at, at + 500).map((c) => cluster.propose(writer, c)));
    }
    await cluster.propose(writer, addVersion(1));
    await eventually(
      'the log is compacted',
      () => cluster.get(writer).counters.get('cluster.log.compacted') > 0,
    );
    await cluster.start(behind);
    await cluster.converged();
    await cluster.get(behind).node.registered;
    expect(cluster.get(behind).node.state().images['win']?.versions).toHaveLength(1);
    // Before the applied state got to disk, perhaps: the log has the snapshot too.
    await cluster.crash(behind);
    await cluster.start(behind);
    await cluster.converged();
    expect(cluster.get(behind).node.state().images['win']?.versions).toHaveLength(1);
  });
});

describe('one node alone', () => {
  it('is a cluster of its own', async () => {
    await make(700, 1).startAll();
    expect(await cluster.propose('n1', addVersion(1))).toMatchObject({ ok: true });
    expect((await cluster.get('n1').node.linearizableState()).images['win']?.versions).toHaveLength(1);
    expect(cluster.get('n1').node.status()).toMatchObject({ role: 'leader', leader: 'n1' });
  });

  it('ends when its disk fails', async () => {
    await make(700, 1).startAll();
    const disk = cluster.disks.get('n1');
    if (disk === undefined) throw new Error('no disk');
    disk.failed = true;
    void cluster
      .get('n1')
      .node.propose(addVersion(1))
      .catch(() => {});
    await eventually('it says so', () => cluster.get('n1').fatal !== undefined);
  });
});
