import { afterEach, describe, expect, it } from 'vitest';
import type { OperationError } from '../../../base/errors.ts';
import { ELECTION_TICKS, TICK_MS } from '../../../cluster/limits.ts';
import { decodePeerMessage } from '../../../cluster/peer-message.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { MemoryDisk } from '../../support/memory-record-log.ts';
import { eventually } from '../../support/real-time.ts';
import { TestCluster } from '../../support/test-cluster.ts';
import { genesisInput, sha } from './state/fixtures.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

function make(nodeCount = 3, groupCount = 4): TestCluster {
  const input = genesisInput(nodeCount, groupCount);
  // Nobody is fenced here: this is about the log alone.
  cluster = new TestCluster(makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs: 60_000 } }));
  return cluster;
}

const addFile = (name: string, holder = 'n1'): Command => ({
  type: 'addBootFile',
  name,
  sizeBytes: 1,
  sha256: sha('a'),
  holder,
});

const files = (nodeId: string): string[] => Object.keys(cluster.get(nodeId).node.state().bootFiles);

/** Changes one byte of a record in the middle, as a disk does. */
function damage(nodeId: string): void {
  const disk = cluster.disks.get(nodeId);
  const record = disk?.records[Math.floor(disk.records.length / 2)];
  if (record === undefined) throw new Error('there is nothing to damage');
  record[0] = 0xc1;
}

/**
 * Brings about that something is committed because of two nodes alone, the leader and `x`, and that `x` then goes
 * down. @returns both, and the third, which lacks it
 */
async function committedByTwo(): Promise<{ leader: string; x: string; third: string }> {
  await make().startAll();
  const leader = await cluster.agreedLeader();
  const [x = '', third = ''] = cluster.ids.filter((id) => id !== leader);
  await cluster.converged();
  cluster.mesh.isolate(third);
  expect(await cluster.propose(leader, addFile('kept'))).toMatchObject({ ok: true });
  await eventually('it is applied', () => files(x).includes('kept'));
  await cluster.crash(x);
  return { leader, x, third };
}

describe('a node whose log is damaged', () => {
  it('neither votes nor counts before it has fetched everything from those that have it', async () => {
    const { leader, x, third } = await committedByTwo();
    // The only other one that has it is cut off as well.
    cluster.mesh.isolate(leader);
    cluster.mesh.mend(x, third);
    damage(x);
    await cluster.start(x);
    expect(cluster.get(x).node.status().refetch).toMatchObject({
      reason: expect.stringContaining('damaged') as string,
      waitingFor: expect.arrayContaining([third]) as string[],
    });
    expect(cluster.aside.has(x)).toBe(true);
    cluster.mesh.isolate(third, false);
    cluster.mesh.cut(third, leader);
    // Long enough for many elections, had it a vote to give.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(cluster.get(third).node.status().role).not.toBe('leader');
    const refused = await cluster
      .get(x)
      .node.propose(addFile('lost'))
      .catch((error: OperationError) => error);
    expect(refused).toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('lost data') as string,
    });
    // With a majority that has lost nothing, it gets everything again.
    cluster.mesh.isolate(leader, false);
    cluster.mesh.mend(third, leader);
    await eventually('it is whole', () => cluster.get(x).node.status().refetch === undefined);
    await cluster.converged();
    expect(files(x)).toEqual(['kept']);
    // And counts again: with it and another one, the third is not needed.
    await cluster.agreedLeader();
    await cluster.crash(third);
    expect(await cluster.propose(x, addFile('later'))).toMatchObject({ ok: true });
    // What it has fetched is durable.
    await cluster.crash(x);
    await cluster.start(x);
    expect(cluster.get(x).node.status().refetch).toBeUndefined();
    await eventually('it is there', () => files(x).includes('later'));
  });

  it('would bring about the loss of what was acknowledged, did it begin as if it were new', async () => {
    const { leader, x, third } = await committedByTwo();
    await cluster.crash(leader);
    // The deliberate fault: an empty disk, and nobody who says that there was more.
    cluster.disks.set(x, new MemoryDisk());
    await cluster.forgetApplied(x);
    cluster.mesh.mend(x, third);
    await cluster.start(x);
    await eventually('the two that lack it elect', () =>
      [x, third].some((id) => cluster.get(id).node.status().role === 'leader'),
    );
    await cluster.propose(third, addFile('instead'));
    expect(files(third)).toEqual(['instead']);
  });

  it('goes on recovering after another crash, and says that it lost data until then', async () => {
    const { leader, x, third } = await committedByTwo();
    cluster.mesh.isolate(third, false);
    cluster.mesh.mend(x, third);
    await eventually('the third has it', () => files(third).includes('kept'));
    damage(x);
    // No snapshot gets through.
    cluster.mesh.filter = (_from, to, bytes) => to !== x || decodePeerMessage(bytes).kind !== 'snapshotChunk';
    await cluster.start(x);
    for (let i = 0; i < 2; i++) {
      await eventually('it is recovering', () => cluster.get(x).node.status().refetch !== undefined);
      await cluster.crash(x);
      await cluster.start(x);
      expect(cluster.get(x).node.status().refetch?.reason).toContain('damaged');
    }
    cluster.mesh.filter = () => true;
    await eventually('it is whole', () => cluster.get(x).node.status().refetch === undefined, 20_000);
    await cluster.converged();
    expect(files(leader)).toEqual(['kept']);
  });

  it('waits for room when its disk is full', async () => {
    const { leader, x, third } = await committedByTwo();
    cluster.mesh.isolate(third, false);
    cluster.mesh.mend(x, third);
    damage(x);
    cluster.mesh.filter = (_from, to, bytes) => to !== x || decodePeerMessage(bytes).kind !== 'snapshotChunk';
    const started = await cluster.start(x);
    const disk = cluster.disks.get(x) as MemoryDisk;
    disk.full = true;
    cluster.mesh.filter = () => true;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(started.node.status().refetch).toBeDefined();
    expect(started.fatal).toBeUndefined();
    disk.full = false;
    await eventually('it is whole', () => started.node.status().refetch === undefined);
    await cluster.converged();
    expect(files(x)).toEqual(files(leader));
  });

  it('does so as well when its log ends before what it has applied', async () => {
    await make().startAll();
    const x = await cluster.agreedLeader();
    await cluster.propose(x, addFile('kept'));
    let applied = 0;
    while (applied === 0) applied = (await cluster.get(x).store.load())?.position ?? 0;
    await cluster.crash(x);
    const disk = cluster.disks.get(x) as MemoryDisk;
    disk.records.length = 1;
    disk.durable = 1;
    await cluster.agreedLeader();
    await cluster.start(x);
    await eventually('it is whole', () => cluster.get(x).node.status().refetch === undefined);
    await cluster.converged();
    expect(files(x)).toEqual(['kept']);
  });

  it('is refused where there is nobody to fetch from, with a word on what helps', async () => {
    await make(1).startAll();
    await cluster.propose('n1', addFile('kept'));
    await cluster.crash('n1');
    damage('n1');
    const before = cluster.disks.get('n1');
    const refused = await cluster.start('n1').catch((error: OperationError) => error);
    expect(refused).toMatchObject({ code: 'log-damaged', kind: 'conflict' });
    expect((refused as OperationError).accepted).toContain('restore');
    expect(cluster.disks.get('n1')).toBe(before);
  });

  it('fetches it from nodes that were removed and have votes still', { timeout: 30_000 }, async () => {
    await make(3, 0).startAll();
    const leader = await cluster.agreedLeader();
    const [x = '', other = ''] = cluster.ids.filter((id) => id !== leader);
    await cluster.propose(x, addFile('kept', x));
    // What the one that stays hears is not acknowledged, so that no change of members is begun that needs it.
    cluster.mesh.filter = (from) => from !== x;
    await new Promise((resolve) => setTimeout(resolve, 3 * ELECTION_TICKS * TICK_MS));
    for (const nodeId of [other, leader]) {
      const command = { type: 'removeNode', nodeId, atMs: Date.now(), by: 'test' } as const;
      expect(await cluster.propose(leader, command)).toMatchObject({ ok: true });
    }
    await cluster.propose(leader, addFile('later', x));
    await cluster.propose(leader, addFile('last', x));
    const knows = async (): Promise<boolean> =>
      Object.keys((await cluster.get(x).store.load())?.state.removedNodes ?? {}).length === 2;
    while (!(await knows())) await new Promise((resolve) => setTimeout(resolve, 20));
    await cluster.crash(x);
    damage(x);
    cluster.mesh.filter = () => true;
    await cluster.start(x);
    await eventually('it is whole', () => cluster.get(x).node.status().refetch === undefined);
    expect(files(x)).toEqual(expect.arrayContaining(['kept', 'later', 'last']));
    await eventually('the others are let go', () => [leader, other].every((id) => cluster.get(id).removed));
    for (const id of [leader, other]) await cluster.crash(id);
    await eventually('it leads', () => cluster.get(x).node.status().role === 'leader');
    // Nobody else has anything now.
    await cluster.propose(x, addFile('alone', x));
    while ((await cluster.get(x).store.load())?.state.bootFiles['alone'] === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await cluster.crash(x);
    damage(x);
    await expect(cluster.start(x)).rejects.toMatchObject({ code: 'log-damaged' });
  });
});
