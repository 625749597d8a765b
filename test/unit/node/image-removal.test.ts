import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../base/clock.ts';
import { OperationError } from '../../../base/errors.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { type ImageRemovalPorts, removeImageVersion } from '../../../node/image-removal.ts';
import type { ImageUse } from '../../../node/portal/worker-protocol.ts';
import { FakeCluster, NODE_IDS } from '../../support/fake-cluster.ts';

const OLD = { name: 'base', version: 1 };

/** Two versions that all nodes hold, and two clients. */
function cluster(): FakeCluster {
  const fake = new FakeCluster();
  for (const manifest of ['a', 'b']) {
    const version = { sizeBytes: 4096, chunkSizeBytes: 4096, manifestSha256: manifest.repeat(64), atMs: 1 };
    mustApply(fake, { type: 'addImageVersion', image: 'base', ...version, holder: 'n1' });
  }
  for (const version of [1, 2]) {
    for (const holder of NODE_IDS) mustApply(fake, { type: 'imageHeld', image: 'base', version, holder });
  }
  for (const [i, name] of ['one', 'two'].entries()) {
    const macs = [`52:54:00:00:00:0${i}`];
    mustApply(fake, { type: 'addClient', name, macs, image: 'base', writeCache: 'keep' });
  }
  return fake;
}

function mustApply(fake: FakeCluster, command: Command): void {
  const result = fake.apply(command);
  if (!result.ok) throw new Error(result.error.message);
}

function ports(fake: FakeCluster, answer: (nodeId: string) => readonly ImageUse[]): ImageRemovalPorts {
  const clock = new ManualClock();
  return {
    cluster: fake,
    clock,
    useHere: () => Promise.resolve(answer('n1')),
    useElsewhere: (nodeId) => Promise.resolve(answer(nodeId)),
  };
}

const lunIdOf = (fake: FakeCluster, name: string): number => fake.state().clients[name]?.lunId as number;
const versions = (fake: FakeCluster): number[] =>
  fake.state().images['base']?.versions.map((v) => v.version) ?? [];

async function refusal(removing: Promise<unknown>): Promise<OperationError> {
  const error = await removing.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof OperationError) return error;
  throw new Error('was not refused');
}

describe('the removal of an image version that disks may be over', () => {
  it('asks whoever serves the disks, and takes it out where none is over it', async () => {
    const fake = cluster();
    const asked: string[] = [];
    const answer = (nodeId: string): readonly ImageUse[] => {
      asked.push(nodeId);
      return [{ group: 'pg1', lunIds: [] }];
    };
    expect(await removeImageVersion(ports(fake, answer), OLD, 'admin')).toEqual({
      image: 'base',
      version: 1,
    });
    expect(asked).toEqual([fake.state().portalGroups['pg1']?.primary]);
    expect(versions(fake)).toEqual([2]);
  });

  it('is refused with the names of the clients whose disks are over it', async () => {
    const fake = cluster();
    const lunIds = [lunIdOf(fake, 'two'), lunIdOf(fake, 'one'), 99];
    const error = await refusal(
      removeImageVersion(
        ports(fake, () => [{ group: 'pg1', lunIds }]),
        OLD,
        'admin',
      ),
    );
    expect(error).toMatchObject({
      kind: 'conflict',
      code: 'image-version-in-use',
      message: 'the disks of LUN 99 of a client that was removed, one, two are over image base version 1',
    });
    expect(versions(fake)).toEqual([1, 2]);
  });

  it('is refused where nobody serves a group that has such disks', async () => {
    const fake = cluster();
    const error = await refusal(
      removeImageVersion(
        ports(fake, () => []),
        OLD,
        'admin',
      ),
    );
    expect(error).toMatchObject({ code: 'image-use-unknown', message: expect.stringContaining('pg1') });
    expect(versions(fake)).toEqual([1, 2]);
  });

  it('is refused by the entry itself where a client has come meanwhile', async () => {
    const fake = cluster();
    const answer = (): readonly ImageUse[] => {
      const macs = ['52:54:00:00:00:07'];
      mustApply(fake, { type: 'addClient', name: 'late', macs, image: 'base', writeCache: 'discard' });
      return [{ group: 'pg1', lunIds: [] }];
    };
    expect((await refusal(removeImageVersion(ports(fake, answer), OLD, 'admin'))).code).toBe(
      'image-use-changed',
    );
    expect(versions(fake)).toEqual([1, 2]);
  });

  it('asks nobody where the configuration alone says no', async () => {
    const fake = cluster();
    const answer = (): readonly ImageUse[] => {
      throw new Error('nobody is to be asked');
    };
    const newest = removeImageVersion(ports(fake, answer), { name: 'base', version: 2 }, 'admin');
    expect((await refusal(newest)).code).toBe('image-version-in-use');
  });
});
