import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Logger, silentLogger } from '../../../base/logger.ts';
import { AppliedStore, FORMAT_VERSION } from '../../../cluster/applied-store.ts';
import { pack } from '../../../cluster/msgpack.ts';
import { openAppliedStore } from '../../../node/applied-directory.ts';
import { runningCluster } from '../cluster/state/fixtures.ts';

const OWNER = { clusterId: 'c-1', nodeId: 'n1' };
let directory: string;
let said: string[];
let logger: Logger;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bootfabric-applied-directory-'));
  said = [];
  logger = {
    ...silentLogger,
    error: (event, fields) => said.push(`${event} ${String(fields?.['as'])}`),
  };
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function fill(position: number): Promise<void> {
  const store = await openAppliedStore(directory, OWNER, logger);
  await store.write(undefined, { state: runningCluster(), position });
  await store.close();
}

/** Changes what is under a key, as a disk might. */
async function overwrite(key: string, change: (value: Uint8Array) => Uint8Array): Promise<void> {
  const level = new Level<string, Uint8Array>(join(directory, 'state'), { valueEncoding: 'view' });
  await level.put(key, change((await level.get(key)) ?? new Uint8Array(0)));
  await level.close();
}

const flipped = (value: Uint8Array): Uint8Array => {
  const damaged = Uint8Array.from(value);
  damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
  return damaged;
};

async function positionOf(path: string): Promise<number | undefined> {
  const store = await AppliedStore.open(path, OWNER);
  try {
    return (await store.load())?.position;
  } finally {
    await store.close();
  }
}

describe('the applied state of a node', () => {
  it('is made where there is none, and found again', async () => {
    await fill(7);
    expect(await positionOf(join(directory, 'state'))).toBe(7);
    const again = await openAppliedStore(directory, OWNER, logger);
    expect((await again.load())?.position).toBe(7);
    await again.close();
    expect([said, await readdir(directory)]).toEqual([[], ['state']]);
  });

  it('is put aside when it is damaged, each under a name of its own, and an empty one takes its place', async () => {
    for (const count of [1, 2, 3]) {
      await fill(count);
      await overwrite('cluster', flipped);
      const store = await openAppliedStore(directory, OWNER, logger);
      expect(await store.load()).toBeUndefined();
      await store.close();
      expect(said.splice(0)).toEqual([
        `cluster.applied.set-aside ${join(directory, `state.damaged-${count}`)}`,
      ]);
    }
    expect((await readdir(directory)).sort()).toEqual([
      'state',
      'state.damaged-1',
      'state.damaged-2',
      'state.damaged-3',
    ]);
    // As it was, for whoever looks into it.
    await expect(positionOf(join(directory, 'state.damaged-2'))).rejects.toThrow();
  });

  it('stays where it is when it is in use, or somebody else’s, or of another version', async () => {
    const held = await openAppliedStore(directory, OWNER, logger);
    await held.write(undefined, { state: runningCluster(), position: 7 });
    await expect(openAppliedStore(directory, OWNER, logger)).rejects.toMatchObject({
      code: 'node-running',
      got: join(directory, 'state'),
    });
    await held.close();
    const other = { ...OWNER, nodeId: 'n2' };
    await expect(openAppliedStore(directory, other, logger)).rejects.toMatchObject({ code: 'foreign-data' });
    expect(await positionOf(join(directory, 'state'))).toBe(7);
    await overwrite('meta', () => pack([FORMAT_VERSION + 1, 'c-1', 'n1', 9]));
    await expect(openAppliedStore(directory, OWNER, logger)).rejects.toMatchObject({ code: 'other-format' });
    // A refusal holds nothing.
    await expect(positionOf(join(directory, 'state'))).rejects.toMatchObject({ code: 'other-format' });
    expect([said, await readdir(directory)]).toEqual([[], ['state']]);
  });
});
