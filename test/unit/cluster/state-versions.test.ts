import { afterEach, describe, expect, it } from 'vitest';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import type { StateVersions } from '../../../cluster/state/versions.ts';
import { eventually } from '../../support/real-time.ts';
import { TestCluster } from '../../support/test-cluster.ts';
import { genesisInput, sha } from './state/fixtures.ts';

/** The program before boot files could be uploaded, and the one that brought them. */
const OLD: StateVersions = { newest: 1, neededBy: () => 1 };
const NEW: StateVersions = { newest: 2, neededBy: ({ type }) => (type === 'addBootFile' ? 2 : 1) };

const addFile: Command = { type: 'addBootFile', name: 'a', sizeBytes: 1, sha256: sha('a'), holder: 'n1' };
const addVersion: Command = {
  type: 'addImageVersion',
  image: 'win',
  sizeBytes: 4096,
  chunkSizeBytes: 4096,
  manifestSha256: sha('b'),
  holder: 'n1',
  atMs: 1,
};
const tooNew = { code: 'newer-state', got: 2, accepted: expect.stringContaining('upgrade') as string };

let cluster: TestCluster;

afterEach(async () => {
  await cluster.stopAll();
});

async function startWith(versions: Readonly<Record<string, StateVersions>>): Promise<void> {
  const input = genesisInput(3, 3);
  cluster = new TestCluster(makeGenesis({ ...input, settings: { ...input.settings, fenceAfterMs: 60_000 } }));
  for (const [id, version] of Object.entries(versions)) cluster.versions.set(id, version);
  await cluster.startAll();
  await cluster.converged();
}

async function startAgain(nodeId: string, versions: StateVersions): Promise<void> {
  await cluster.crash(nodeId);
  await cluster.agreedLeader();
  cluster.versions.set(nodeId, versions);
  await cluster.start(nodeId);
}

const versionSeenBy = (nodeId: string): number => cluster.get(nodeId).node.state().stateVersion ?? 1;

describe('a cluster of two versions', () => {
  it('takes what only the newer knows once every member runs it, and an older program stops then', async () => {
    await startWith({ n1: NEW, n2: NEW, n3: OLD });
    expect(versionSeenBy('n1')).toBe(1);
    expect(await cluster.propose('n1', addFile)).toMatchObject({
      ok: false,
      error: { code: 'members-too-old', message: expect.stringContaining('n3') as string },
    });
    expect(await cluster.propose('n1', addVersion)).toMatchObject({ ok: true });

    await startAgain('n3', NEW);
    await cluster.get('n3').node.registered;
    await cluster.converged();
    expect(cluster.ids.map(versionSeenBy)).toEqual([2, 2, 2]);
    expect(await cluster.propose('n2', addFile)).toMatchObject({ ok: true });
    await cluster.converged();
    for (const id of cluster.ids) expect(cluster.get(id).fatal).toBeUndefined();

    // A downgrade, found in the log ...
    await cluster.crash('n3');
    await cluster.forgetApplied('n3');
    cluster.versions.set('n3', OLD);
    const { node, store } = await cluster.start('n3');
    await eventually('it stops', () => cluster.get('n3').fatal !== undefined);
    expect(cluster.get('n3').fatal).toMatchObject(tooNew);
    expect(node.state().stateVersion).toBeUndefined();
    // It goes no further, nor does it give anybody what it has as being further.
    const before = node.state();
    expect(await cluster.propose('n1', { ...addFile, name: 'b' })).toMatchObject({ ok: true });
    await eventually('the others have it', () => 'b' in cluster.get('n2').node.state().bootFiles);
    expect(node.state()).toBe(before);
    expect((await store.load())?.state.stateVersion).toBeUndefined();
    // ... and mended by going back to the newer program.
    await startAgain('n3', NEW);
    await cluster.converged();
    expect(Object.keys(cluster.get('n3').node.state().bootFiles)).toEqual(['a', 'b']);

    // A downgrade, found in the applied state.
    const { store: written } = cluster.get('n3');
    while ((await written.load())?.state.stateVersion !== 2);
    await cluster.crash('n3');
    cluster.versions.set('n3', OLD);
    await expect(cluster.start('n3')).rejects.toMatchObject(tooNew);
  });

  it('lets no older program in any more', async () => {
    await startWith({ n1: NEW, n2: NEW, n3: NEW });
    expect(versionSeenBy('n1')).toBe(2);
    cluster.versions.set('n4', OLD);
    await cluster.join('n4');
    await eventually('it stops', () => cluster.get('n4').fatal !== undefined);
    expect(cluster.get('n4').fatal).toMatchObject({ kind: 'conflict' });
    expect(cluster.get('n4').node.state().stateVersion).toBeUndefined();
    expect(versionSeenBy('n1')).toBe(2);
  });
});
