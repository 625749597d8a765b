import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { ClusterState } from '../../../../cluster/state/model.ts';
import { Integrity } from '../../../../node/portal/integrity.ts';
import type { ImagePart } from '../../../../storage/image/image-source.ts';
import { ImageStore } from '../../../../storage/image/image-store.ts';
import { DAMAGE_RETRY_MS } from '../../../../storage/scrub/limits.ts';

const REF = { name: 'debian', version: 3 };

describe('damage that no other node can mend', () => {
  const clock = new ManualClock(1_000_000);
  let holders: string[];
  let isElsewhere: boolean;
  let asked: ImagePart[];
  let integrity: Integrity;
  beforeEach(async () => {
    holders = ['n1', 'n2'];
    isElsewhere = false;
    asked = [];
    const versions = () => [{ version: 3, sizeBytes: 4096, manifestSha256: 'ab', holders }];
    integrity = new Integrity({
      nodeId: 'n1',
      state: () =>
        ({
          portalGroups: {},
          images: { debian: { name: 'debian', versions: versions() } },
        }) as unknown as ClusterState,
      group: () => undefined,
      images: new ImageStore({ directory: '/nonexistent' }),
      mendImage: (_, part) => {
        asked.push(part);
        return Promise.resolve(isElsewhere);
      },
      store: { load: () => Promise.resolve(undefined), save: () => Promise.resolve() },
      activity: () => 0,
      readers: 1,
      readsImages: true,
      clock,
      timers: clock,
      logger: silentLogger,
      counters: new CounterSet(),
    });
    await integrity.start();
  });

  async function pass(ms: number): Promise<void> {
    clock.advance(ms);
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }

  it('is named until it is mended, which is tried again', async () => {
    expect(await integrity.mendImage(REF, 12)).toBe(false);
    expect(await integrity.mendImage(REF, 12)).toBe(false);
    expect(await integrity.mendImage(REF, 'manifest')).toBe(false);
    expect(integrity.status()).toMatchObject({
      found: 2,
      mended: 0,
      left: ['image debian version 3, chunk 12', 'image debian version 3, its manifest'],
      leftCount: 2,
    });
    isElsewhere = true;
    await pass(DAMAGE_RETRY_MS);
    expect(asked).toEqual([12, 12, 'manifest', 12, 'manifest']);
    expect(integrity.status()).toMatchObject({ found: 2, mended: 2, left: [], leftCount: 0 });
    await pass(DAMAGE_RETRY_MS);
    expect(asked.length).toBe(5);
    await integrity.stop();
  });

  it('is forgotten with what it was in', async () => {
    await integrity.mendImage(REF, 0);
    holders = ['n2'];
    await pass(DAMAGE_RETRY_MS);
    expect(asked).toEqual([0]);
    expect(integrity.status()).toMatchObject({ found: 1, mended: 0, leftCount: 0 });
    await integrity.stop();
  });
});
