import { describe, expect, it } from 'vitest';
import { workerOfGroup } from '../../../../cluster/state/data-plane-workers.ts';
import { type DataPlaneWorker, DataPlaneWorkers } from '../../../../node/portal/data-plane-workers.ts';
import type { IntegrityStatus } from '../../../../node/portal/integrity.ts';
import type { DataPlaneStatus } from '../../../../node/portal/worker-protocol.ts';
import { FakeCluster } from '../../../support/fake-cluster.ts';

const SOUND: IntegrityStatus = {
  startedAtMs: undefined,
  doneBytes: 0,
  totalBytes: 100,
  lastCompletedAtMs: undefined,
  found: 0,
  mended: 0,
  left: [],
  leftCount: 0,
};

function dataPlane(integrity: readonly IntegrityStatus[] = [SOUND, SOUND]) {
  const log: string[] = [];
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const workers = integrity.map(
    (status, n): DataPlaneWorker => ({
      ready: Promise.resolve(),
      beginBoot: async (client) => {
        log.push(`boot ${client} at ${n}`);
        return { kind: 'ready' };
      },
      imageUse: () => Promise.reject(new Error('not asked here')),
      readCopy: async (group) => {
        log.push(`copy of ${group} at ${n}`);
        throw new Error('there is none');
      },
      status: async () =>
        ({
          groups: [{ id: `g${n}` }],
          sessions: [],
          luns: [],
          integrity: status,
          counters: { shared: 1, [`own${n}`]: 1 },
        }) as unknown as DataPlaneStatus,
      scrub: async () => status,
      handedOver: async () => (n === 1 ? held : undefined),
      peerEnded: ({ nodeId }) => void log.push(`ended ${nodeId} at ${n}`),
      stop: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`stopped ${n}`);
      },
    }),
  );
  const cluster = new FakeCluster();
  cluster.addImage('win11');
  const macs = ['52:54:00:12:34:50'];
  cluster.apply({ type: 'addClient', name: 'pc1', macs, image: 'win11', writeCache: 'discard' });
  return { log, release, cluster, plane: new DataPlaneWorkers(workers, cluster) };
}

describe('the workers of a node, as the rest of it sees them', () => {
  it('answer for a client by the one that has its group', async () => {
    const { plane, log, cluster } = dataPlane();
    const group = cluster.state().clients['pc1']?.portalGroup ?? '';
    expect(await plane.beginBoot('pc1')).toEqual({ kind: 'ready' });
    expect(log).toEqual([`boot pc1 at ${workerOfGroup(group, 2)}`]);
    await expect(plane.readCopy(group)).rejects.toThrow();
    expect(log.at(-1)).toBe(`copy of ${group} at ${workerOfGroup(group, 2)}`);
    expect(await plane.beginBoot('nobody')).toEqual({ kind: 'not-serving' });
  });

  it('are one data plane in what they say', async () => {
    const { groups, counters, integrity } = await dataPlane().plane.status();
    expect(groups.map(({ id }) => id)).toEqual(['g0', 'g1']);
    expect(counters).toEqual({ shared: 2, own0: 1, own1: 1 });
    expect(integrity).toEqual({ ...SOUND, totalBytes: 200 });
  });

  it('have read everything through when the last of them has', async () => {
    const through = { ...SOUND, lastCompletedAtMs: 50 };
    const reading = { ...SOUND, startedAtMs: 40, doneBytes: 30, found: 2, left: ['a block'], leftCount: 1 };
    const { plane } = dataPlane([through, reading]);
    expect(await plane.scrub()).toEqual({
      ...SOUND,
      startedAtMs: 40,
      doneBytes: 130,
      totalBytes: 200,
      found: 2,
      left: ['a block'],
      leftCount: 1,
    });
    const later = { ...through, lastCompletedAtMs: 90 };
    expect((await dataPlane([later, through]).plane.scrub()).lastCompletedAtMs).toBe(50);
  });

  it('are all told of the end of a process, waited for, and stopped, the first of them last', async () => {
    const { plane, log, release } = dataPlane([SOUND, SOUND, SOUND]);
    plane.peerEnded({ nodeId: 'n2', incarnation: 'a' });
    expect(log.splice(0)).toEqual(['ended n2 at 0', 'ended n2 at 1', 'ended n2 at 2']);
    let isOver = false;
    const over = plane.handedOver().then(() => {
      isOver = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isOver).toBe(false);
    release();
    await over;
    await plane.stop();
    expect(log).toEqual(['stopped 1', 'stopped 2', 'stopped 0']);
  });
});
