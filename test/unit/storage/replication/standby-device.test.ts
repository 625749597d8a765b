import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { PeerIdentity } from '../../../../base/peer-transport.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import type { ReplicationHost } from '../../../../storage/replication/index.ts';
import { eventually } from '../../../support/real-time.ts';
import { Exchange, makeHost, serving } from '../../../support/replicated-group.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'standby-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

it('a disk opened on a backup is known there, carries nothing, and works once that is the primary', async () => {
  const peers = ['a', 'b'].map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` }));
  const exchange = new Exchange();
  const [a, b] = peers.map((peer) => makeHost(directory, peer, exchange)) as [
    ReplicationHost,
    ReplicationHost,
  ];
  const base = { id: 'g', replicas: ['a', 'b'], minInSync: 1, durability: 'durable' as const };
  const nodes = peers.map((peer) => ({ ...peer, status: 'up' as const }));
  const both = { groups: [{ ...base, epoch: 3, primary: 'a', inSync: peers }], nodes, leaseMs: 800 };
  for (const host of [a, b]) host.applyClusterState(both);
  await Promise.all([a.start(), b.start()]);
  exchange.connect(peers);
  const group = await serving(a);
  await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 2048 });
  const device = group.openDevice(1) as BlockDevice;
  await device.write(8, [Buffer.alloc(4096, 0x5a)], { forceUnitAccess: false });
  await device.saveServerState(Buffer.from('reserved'));

  const backup = b.group('g');
  await eventually('the backup has it', () => backup?.standbyDevice(1)?.serverState !== undefined);
  expect(backup?.standbyDevice(2)).toBeUndefined();
  expect(backup?.openDevice(1), 'it serves nothing').toBeUndefined();
  const standby = backup?.standbyDevice(1) as BlockDevice;
  expect([standby.lengthBlocks, standby.writeCacheEnabled]).toEqual([2048, false]);
  expect(Buffer.from(standby.serverState ?? []).toString()).toBe('reserved');
  const nothing = { kind: 'not-serving' };
  await expect(standby.read(8, 8)).rejects.toMatchObject(nothing);
  await expect(standby.write(8, [Buffer.alloc(512)], { forceUnitAccess: false })).rejects.toMatchObject(
    nothing,
  );
  await expect(standby.saveServerState(Buffer.from('stolen'))).rejects.toMatchObject(nothing);
  expect(standby.readNow?.(8, 8)).toBeUndefined();

  await a.stop();
  const member = peers[1] as PeerIdentity;
  b.applyClusterState({
    groups: [{ ...base, epoch: 4, primary: 'b', inSync: [member] }],
    nodes: [{ ...member, status: 'up' as const }],
    leaseMs: 800,
  });
  await serving(b);
  expect(Buffer.concat(await standby.read(8, 8)).equals(Buffer.alloc(4096, 0x5a))).toBe(true);
  await standby.write(8, [Buffer.alloc(512, 1)], { forceUnitAccess: false });
  await b.stop();
});
