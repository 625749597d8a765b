import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PeerIdentity } from '../../../../base/peer-transport.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import type { ReplicationHost } from '../../../../storage/replication/index.ts';
import { Exchange, makeHost, serving } from '../../../support/replicated-group.ts';

describe('a portal group on real files', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'group-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('keeps what was written on both members, and through a restart of the last one', async () => {
    const peers = ['a', 'b'].map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` }));
    const exchange = new Exchange();
    let scans = 0;
    const hosts = peers.map((peer) => makeHost(directory, peer, exchange, { onScan: () => scans++ }));
    const base = { id: 'g', replicas: ['a', 'b'], minInSync: 1, durability: 'write-back' as const };
    const nodes = peers.map((peer) => ({ ...peer, status: 'up' as const }));
    const both = { groups: [{ ...base, epoch: 3, primary: 'a', inSync: peers }], nodes, leaseMs: 800 };
    for (const host of hosts) host.applyClusterState(both);
    await Promise.all(hosts.map((host) => host.start()));
    exchange.connect(peers);
    const [a, b] = hosts as [ReplicationHost, ReplicationHost];
    const group = await serving(a);
    await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 2048 });
    const device = group.openDevice(1) as BlockDevice;
    const writes = Array.from({ length: 200 }, (_, i) =>
      device.write(i * 10, [Buffer.alloc(5120, i)], { forceUnitAccess: i % 50 === 0 }),
    );
    await Promise.all(writes);
    await device.discard(1000, 500);
    await device.discard(2040, 8);
    await device.saveServerState(Buffer.from('reserved'));
    await device.flush();
    const content = Buffer.concat(await device.read(0, 2048));
    expect(content[199 * 5120]).toBe(199);
    expect([content[1000 * 512], content[1499 * 512], content.at(-1)]).toEqual([0, 0, 0]);
    expect(content[2039 * 512]).toBe(7);
    await a.stop();
    scans = 0;
    // The other takes over, with all of it and without reading its log.
    const [, peerB] = peers as [PeerIdentity, PeerIdentity];
    const alone = (epoch: number, member: PeerIdentity) => ({
      groups: [{ ...base, epoch, primary: 'b', inSync: [member] }],
      nodes: [{ ...member, status: 'up' as const }],
      leaseMs: 800,
    });
    b.applyClusterState(alone(4, peerB));
    const successor = (await serving(b)).openDevice(1) as BlockDevice;
    expect(Buffer.concat(await successor.read(0, 2048)).equals(content)).toBe(true);
    expect(Buffer.from(successor.serverState ?? []).toString()).toBe('reserved');
    expect(scans).toBe(0);
    await successor.write(3, [Buffer.alloc(512, 0xee)], { forceUnitAccess: true });
    await b.stop();
    const again = { nodeId: 'b', incarnation: 'b.2' };
    const reborn = makeHost(directory, again, new Exchange());
    reborn.applyClusterState(alone(5, again));
    await reborn.start();
    const last = (await serving(reborn)).openDevice(1) as BlockDevice;
    content.fill(0xee, 3 * 512, 4 * 512);
    expect(Buffer.concat(await last.read(0, 2048)).equals(content)).toBe(true);
    expect(Buffer.from(last.serverState ?? []).toString()).toBe('reserved');
    await reborn.stop();
  });
});
