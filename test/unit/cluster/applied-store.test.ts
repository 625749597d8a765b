import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppliedDamageError, AppliedStore, FORMAT_VERSION } from '../../../cluster/applied-store.ts';
import { pack } from '../../../cluster/msgpack.ts';
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

  it('knows who had votes at its position, and not at one that a program wrote that does not know of them', async () => {
    const state = runningCluster();
    await store.write(undefined, { state, position: 7, voters: [1, 3] });
    expect(await store.load()).toEqual({ state, position: 7, voters: [1, 3] });
    await store.write(state, { state, position: 8 });
    expect(await store.load()).toEqual({ state, position: 8 });
    await store.write(state, { state, position: 9, voters: [1, 3] });
    await store.close();
    const level = new Level<string, Uint8Array>(folder, { valueEncoding: 'view' });
    const noted = await level.get('voters');
    if (noted === undefined) throw new Error('it was not noted');
    await level.close();
    store = await AppliedStore.open(folder, OWNER);
    await store.write(state, { state, position: 10 });
    await store.close();
    const again = new Level<string, Uint8Array>(folder, { valueEncoding: 'view' });
    await again.put('voters', noted);
    await again.close();
    store = await AppliedStore.open(folder, OWNER);
    expect(await store.load()).toEqual({ state, position: 10 });
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

  it('refuses what an older or a newer program has written, and says which', async () => {
    await store.write(undefined, { state: runningCluster(), position: 1 });
    await store.close();
    for (const version of [FORMAT_VERSION - 1, FORMAT_VERSION + 1]) {
      const level = new Level<string, Uint8Array>(folder, { valueEncoding: 'view' });
      // Whatever else there may be in that version.
      await level.put('meta', pack([version, 'c-1', 'n1', 9, 'more', 'and more']));
      await level.close();
      store = await AppliedStore.open(folder, OWNER);
      await expect(store.load()).rejects.toMatchObject({ code: 'other-format', got: version });
      await store.close();
    }
    store = await AppliedStore.open(folder, OWNER);
  });

  it('takes no record for good of which a bit has changed', async () => {
    await store.write(undefined, { state: runningCluster(), position: 1 });
    await store.close();
    const level = new Level<string, Uint8Array>(folder, { valueEncoding: 'view' });
    const whole = new Map<string, Uint8Array>();
    for await (const [key, value] of level.iterator()) whole.set(key, Uint8Array.from(value));
    await level.close();
    expect(whole.size).toBeGreaterThan(4);
    for (const [key, value] of whole) {
      const damaged = Uint8Array.from(value);
      const at = damaged.length - 1;
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      await change(key, damaged);
      await expect(store.load(), key).rejects.toThrow(AppliedDamageError);
      await store.close();
      await change(key, value);
      await store.load();
      await store.close();
    }
    store = await AppliedStore.open(folder, OWNER);

    async function change(key: string, value: Uint8Array): Promise<void> {
      const raw = new Level<string, Uint8Array>(folder, { valueEncoding: 'view' });
      await raw.put(key, value);
      await raw.close();
      store = await AppliedStore.open(folder, OWNER);
    }
  });

  it('is held by one at a time', async () => {
    await expect(AppliedStore.open(folder, OWNER)).rejects.toThrow();
  });
});
