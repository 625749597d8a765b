import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppliedStore } from '../../../cluster/applied-store.ts';
import { addClient, addVersion, applyAll, runningCluster, sha } from './state/fixtures.ts';

const OWNER = { clusterId: 'c-1', nodeId: 'n1' };
let folder: string;
let store: AppliedStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bootfabric-applied-'));
  store = await AppliedStore.open(folder, OWNER);
});

afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

describe('the applied store', () => {
  it('has nothing at first, and then the last state written with its position', async () => {
    expect(await store.load()).toBeUndefined();
    const one = applyAll(runningCluster(), addClient('pc-1', '52:54:00:00:00:01'));
    await store.write(undefined, { state: one, position: 7 });
    expect(await store.load()).toEqual({ state: one, position: 7 });
    const two = applyAll(one, { type: 'removeClient', name: 'pc-1' }, addVersion('linux', 'n2', sha('b')), {
      type: 'addBootFile',
      name: 'ipxe.efi',
      sizeBytes: 5,
      sha256: sha('c'),
      holder: 'n1',
    });
    await store.write(one, { state: two, position: 12 });
    await store.write(two, { state: two, position: 13 });
    await store.close();
    store = await AppliedStore.open(folder, OWNER);
    expect(await store.load()).toEqual({ state: two, position: 13 });
  });

  it('refuses the data of another node or cluster', async () => {
    await store.write(undefined, { state: runningCluster(), position: 1 });
    for (const owner of [
      { ...OWNER, nodeId: 'n2' },
      { ...OWNER, clusterId: 'c-2' },
    ]) {
      await store.close();
      store = await AppliedStore.open(folder, owner);
      await expect(store.load()).rejects.toMatchObject({ code: 'foreign-data' });
    }
  });

  it('is held by one at a time', async () => {
    await expect(AppliedStore.open(folder, OWNER)).rejects.toThrow();
  });
});
